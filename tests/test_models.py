"""The networks of conf/model/: what they hold, what they answer, what they refuse."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate

with warnings.catch_warnings():
    # Torch warns, while it is imported, of what it uses of others.
    warnings.simplefilter("ignore")
    import torch
    from torch import Tensor, nn

    from digits.learning.models import ConvNet, Mlp, Network, Stack, num_parameters
from digits import configuration

CONF = Path(__file__).parent.parent / "conf/model"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))


def frames(num: int, *, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num, size, size), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_has_the_parameters_that_its_file_claims_and_answers_any_batch(
    name: str,
) -> None:
    config = configuration.compose([f"model={name}"])
    assert config["model"]["name"] == name
    body = instantiate(config["model"]["network"], image_size=28, num_classes=7)
    assert Network(body, mean=0.1, std=0.3)(frames(3, size=28)).shape == (3, 7)
    body = instantiate(config["model"]["network"], image_size=28, num_classes=10)
    (claimed,) = re.findall(r"^# ([\d,]+) parameters", (CONF / f"{name}.yaml").read_text(), re.M)
    assert f"{num_parameters(body):,}" == claimed


@pytest.mark.parametrize("size", [8, 28, 29, 32])
def test_a_network_answers_frames_of_any_size_it_is_made_for(size: int) -> None:
    layers: list[dict[str, Any]] = [{"conv": 4}, {"pool": 2}, {"dropout": 0.5}, {"dense": 8}]
    for body in (
        Mlp(image_size=size, num_classes=7, hidden=[16]),
        ConvNet(image_size=size, num_classes=7, widths=[4, 4, 4, 4, 4]),
        Stack(image_size=size, num_classes=7, layers=layers),
    ):
        network = Network(body, mean=0.1, std=0.3)
        assert network(frames(3, size=size)).shape == (3, 7)


def test_frames_are_standardised_inside_the_network() -> None:
    network = Network(torch.nn.Flatten(), mean=0.25, std=0.5)
    ink = torch.full((1, 2, 2), 255, dtype=torch.uint8)
    torch.testing.assert_close(network(ink), torch.full((1, 4), (1 - 0.25) / 0.5))


def test_a_convnet_of_other_than_five_widths_is_refused() -> None:
    with pytest.raises(ValueError, match=r"widths must be five numbers, got \[8, 8\]"):
        ConvNet(image_size=28, num_classes=10, widths=[8, 8])


def test_a_stack_has_the_layers_that_are_listed_in_their_order() -> None:
    stack = Stack(
        image_size=28,
        num_classes=10,
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
        ([{"con": 32}], r"\{'con': 32\} must begin with conv, pool, dense or dropout"),
        ([{"dense": 9}, {"conv": 9}], r"\{'conv': 9\} comes after a dense layer"),
        ([{"pool": 14}, {"conv": 9, "padding": "valid"}], "nothing of 28x28 pixels is left after"),
    ],
)
def test_a_stack_that_cannot_be_built_is_refused(
    layers: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Stack(image_size=28, num_classes=10, layers=layers)
