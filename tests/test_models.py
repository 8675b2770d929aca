"""The networks of conf/model/: what they hold, what they answer, what they refuse."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    # Torch warns, while it is imported, of what it uses of others.
    warnings.simplefilter("ignore")
    import torch
    from torch import Tensor, nn

    from digits.learning.export import check_parity, to_onnx
    from digits.learning.models import (
        Ensemble,
        LayerNorm,
        Mlp,
        Moved,
        Network,
        Stack,
        make_body,
        num_parameters,
    )
from digits import configuration

CONF = Path(__file__).parent.parent / "conf/model"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
PRESETS = sorted(f"experiment={path.stem}" for path in (CONF.parent / "experiment").glob("*.yaml"))


def frames(num: int, *, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num, size, size), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_has_the_parameters_that_its_file_claims_and_answers_any_batch(
    name: str,
) -> None:
    config = configuration.compose([f"model={name}"])
    assert config["model"]["name"] == name
    body = make_body(config["model"], image_size=28, num_outputs=7)
    assert Network(body, mean=0.1, std=0.3).eval()(frames(3, size=28)).shape == (3, 7)
    text = (CONF / f"{name}.yaml").read_text()
    ((claimed, size),) = re.findall(r"^# ([\d,]+) parameters(?: on (\d+)x\d+ pixels)?", text, re.M)
    # One output more where it learns what is no digit.
    num_outputs = 10 + (config["synthetic"]["nondigits"] > 0)
    body = make_body(config["model"], image_size=int(size or 28), num_outputs=num_outputs)
    assert f"{num_parameters(body):,}" == claimed


@pytest.mark.parametrize("asked", [*(f"model={name}" for name in NAMES), *PRESETS])
def test_a_model_of_conf_exported_answers_as_torch_does(asked: str) -> None:
    config = configuration.compose([asked])
    size = 8 if asked == "model=simple_mlp" else 28
    torch.manual_seed(1)
    body = make_body(config["model"], image_size=size, num_outputs=11)
    network = Network(body, mean=0.1, std=0.3)
    images_NHW = frames(7, size=size).numpy()
    # Raises where ONNX Runtime and torch disagree.
    logits_NK = check_parity(network, to_onnx(network, image_size=size), images_NHW)
    assert logits_NK.shape == (7, 11)
    assert logits_NK.std(axis=0).min() > 0  # each output depends on the image


@pytest.mark.parametrize("size", [8, 28, 29, 32])
def test_a_network_answers_frames_of_any_size_it_is_made_for(size: int) -> None:
    layers: list[dict[str, Any]] = [{"conv": 4}, {"pool": 2}, {"dropout": 0.5}, {"dense": 8}]
    strided: list[dict[str, Any]] = [{"conv": 4, "kernel": 5, "stride": 2}, {"conv": 4, "pool": 2}]
    for body in (
        Mlp(image_size=size, num_outputs=7, hidden=[16]),
        Stack(image_size=size, num_outputs=7, layers=layers),
        Stack(image_size=size, num_outputs=7, layers=strided, norm="layer"),
    ):
        network = Network(body, mean=0.1, std=0.3)
        assert network(frames(3, size=size)).shape == (3, 7)


def test_frames_are_standardised_inside_the_network() -> None:
    network = Network(torch.nn.Flatten(), mean=0.25, std=0.5)
    ink = torch.tensor([[[0, 51], [102, 255]]], dtype=torch.uint8)
    expected = (torch.tensor([[0, 0.2, 0.4, 1.0]]) - 0.25) / 0.5
    torch.testing.assert_close(network(ink), expected)


def test_pale_ink_on_grey_paper_is_the_same_to_a_network() -> None:
    network = Network(torch.nn.Flatten(), mean=0.25, std=0.5)
    digit = torch.tensor([[[0, 100], [200, 100]]], dtype=torch.uint8)
    torch.testing.assert_close(network(digit // 2 + 60), network(digit))
    blank = torch.full((1, 2, 2), 99, dtype=torch.uint8)
    torch.testing.assert_close(network(blank), torch.full((1, 4), -0.5))


def test_with_layer_normalisation_an_image_is_read_alike_in_any_company() -> None:
    layers: list[dict[str, Any]] = [{"conv": 6}, {"pool": 2}]
    layered = Stack(image_size=28, num_outputs=10, layers=layers, norm="layer").train()
    batched = Stack(image_size=28, num_outputs=10, layers=layers, norm="batch").train()
    images = frames(8, size=28).unsqueeze(1).float() / 255
    images[4:] *= 0.1
    torch.testing.assert_close(layered(images)[:4], layered(images[:4]))
    assert (batched(images)[:4] - batched(images[:4])).abs().max() > 0.01


def test_layer_normalisation_is_group_normalisation_of_one_group() -> None:
    """In both layouts, forward and backward: only the kernel is another."""
    ours, theirs = LayerNorm(6), nn.GroupNorm(1, 6)
    for norm in (ours, theirs):
        norm.weight.data = torch.linspace(0.5, 2, 6)
        norm.bias.data = torch.linspace(-1, 1, 6)
    maps = torch.randn(3, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    for layout in (torch.contiguous_format, torch.channels_last):
        gradients = []
        for norm in (ours, theirs):
            entered = maps.clone(memory_format=layout).requires_grad_()
            left = norm(entered)
            torch.testing.assert_close(left, theirs(maps))
            norm.zero_grad()
            left.square().sum().backward()
            gradients.append((entered.grad, norm.weight.grad, norm.bias.grad))
        torch.testing.assert_close(*gradients)


def test_test_time_augmentation_answers_the_mean_over_moved_images_and_only_then() -> None:
    body = Mlp(image_size=8, num_outputs=3, hidden=[5])
    moved = Moved(body)
    images = frames(4, size=8).unsqueeze(1).float() / 255
    torch.testing.assert_close(moved.train()(images), body(images))
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="circular")
    corners = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    views = [padded[:, :, y : y + 8, x : x + 8] for y, x in corners]
    expected = torch.stack([body(view) for view in views]).mean(0)
    torch.testing.assert_close(moved.eval()(images), expected)


def test_a_convolution_pools_before_its_norm() -> None:
    stack = Stack(
        image_size=28, num_outputs=10, layers=[{"conv": 6, "pool": 2}, {"conv": 4}], norm="batch"
    )
    pooled = [nn.Conv2d, nn.MaxPool2d, nn.BatchNorm2d, nn.ReLU]
    assert [type(module) for module in stack] == [
        *pooled,
        *(nn.Conv2d, nn.BatchNorm2d, nn.ReLU),
        *(nn.Flatten, nn.Linear),
    ]
    assert stack[-1].in_features == 4 * 14**2


def test_a_stack_has_the_layers_that_are_listed_in_their_order() -> None:
    stack = Stack(
        image_size=28,
        num_outputs=10,
        layers=[{"conv": 6, "kernel": 5, "padding": "valid"}, {"pool": 2}, {"dense": 84}],
    )
    kinds = [type(module) for module in stack]
    assert kinds == [
        *(nn.Conv2d, nn.ReLU, nn.MaxPool2d),
        *(nn.Flatten, nn.Linear, nn.ReLU),
        nn.Linear,
    ]
    assert stack[0].weight.shape == (6, 1, 5, 5)
    assert stack[4].weight.shape == (84, 6 * 12 * 12)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"conv": 9, "kernal": 5}], r"\{'conv': 9, 'kernal': 5\} has an unknown 'kernal'"),
        ([{"conv": 9, "padding": 2}], "padding must be same or valid"),
        ([{"con": 32}], r"\{'con': 32\} must begin with conv, pool, dense or dropout"),
        ([{"dense": 9}, {"conv": 9}], r"\{'conv': 9\} comes after a dense layer"),
        ([{"pool": 14}, {"conv": 9, "padding": "valid"}], "nothing of 28x28 pixels is left after"),
    ],
)
def test_a_stack_that_cannot_be_built_is_refused(
    layers: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Stack(image_size=28, num_outputs=10, layers=layers)


def test_a_normalisation_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="norm must be one of none, batch, layer; got 'group'"):
        Stack(image_size=28, num_outputs=10, layers=[{"conv": 4}], norm="group")


def test_an_ensemble_trains_each_of_its_members_and_answers_their_mean_probability() -> None:
    torch.manual_seed(0)
    members = [Mlp(image_size=8, num_outputs=4, hidden=[5]) for _ in range(3)]
    images = torch.rand(6, 1, 8, 8)
    ensemble = Ensemble(members).train()
    parts = images.chunk(3)  # each has images of its own
    own = [member(part) for member, part in zip(members, parts, strict=True)]
    torch.testing.assert_close(ensemble(images), torch.cat(own))
    mean = torch.stack([member(images).softmax(1) for member in members]).mean(0)
    torch.testing.assert_close(ensemble.eval()(images).softmax(1), mean)
