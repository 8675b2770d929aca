"""Networks, batches, schedules, export and calibration, each on its own.

B batch, N images, H/W pixels, K classes.
"""

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

with warnings.catch_warnings():
    # Lightning and the ONNX exporter warn, while they are imported, of what they use of others.
    warnings.simplefilter("ignore")
    import torch
    from torch import Tensor

    from digits.learning import device, ranks
    from digits.learning.calibration import fit_temperature
    from digits.learning.data import DigitsDataModule, epoch_seed
    from digits.learning.export import check_parity, to_onnx
    from digits.learning.images import sheet
    from digits.learning.models import Mlp, Network
    from digits.learning.schedules import constant, one_cycle, plateau
from training_fixtures import make_project


def drawn_from(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frames(num: int, *, size: int = 28, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (num, size, size), generator=drawn_from(seed), dtype=torch.uint8)


def tiny_network(*, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(Mlp(image_size=28, num_outputs=10, hidden=[16]), mean=0.13, std=0.31).eval()


@pytest.fixture
def data(tmp_path: Path) -> DigitsDataModule:
    """330 training images in batches of 10, so 33 steps an epoch, and 23 validation images."""
    prepared = make_project(tmp_path, num_train=335, num_val=23).folder / "data/mnist/prepared"
    data = DigitsDataModule(prepared, batch_size=10, seed=1)
    data.setup("fit")
    return data


def test_a_batch_of_few_images_has_all_of_them(tmp_path: Path) -> None:
    prepared = make_project(tmp_path, num_train=20, num_val=10).folder / "data/mnist/prepared"
    data = DigitsDataModule(prepared, batch_size=128, seed=1)
    data.setup("fit")
    assert data.steps_per_epoch == 1
    ((frames_SBHW, _),) = data.train_dataloader()
    shown = {frame.numpy().tobytes() for frame in frames_SBHW[0]}
    assert shown == {frame.tobytes() for frame in data.arrays["train_images"]}


def test_an_epoch_shows_each_image_at_most_once_and_drops_the_short_last_batch(
    data: DigitsDataModule,
) -> None:
    assert data.steps_per_epoch == 33
    seen = list(data.train_dataloader())
    assert [labels_SB.shape for _, labels_SB in seen] == [(16, 10), (16, 10), (1, 10)]
    assert len(data.train_dataloader()) == 3
    known = {frame.tobytes() for frame in data.arrays["train_images"]}
    shown = [frame.numpy().tobytes() for frames, _ in seen for frame in frames.flatten(0, 1)]
    assert len(shown) == len(set(shown)) == 330
    assert set(shown) <= known


def test_batches_keep_images_and_labels_together(data: DigitsDataModule) -> None:
    arrays = data.arrays
    labels = dict(
        zip(map(bytes, arrays["train_images"]), arrays["train_labels"].tolist(), strict=True)
    )
    for frames_SBHW, labels_SB in data.train_dataloader():
        for frame, label in zip(frames_SBHW.flatten(0, 1), labels_SB.flatten(), strict=True):
            assert labels[bytes(frame.numpy())] == label


def test_validation_sees_every_image_once_in_order(
    data: DigitsDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("digits.learning.data.VALIDATED_AT_ONCE", 5)
    batches = data.val_dataloader()
    assert len(batches) == 5
    frames_NHW, labels_N = (torch.cat(parts) for parts in zip(*batches, strict=True))
    np.testing.assert_array_equal(frames_NHW, data.arrays["val_images"])
    np.testing.assert_array_equal(labels_N, data.arrays["val_labels"])


def test_each_image_is_validated_on_in_exactly_one_fold_whatever_the_seed(tmp_path: Path) -> None:
    prepared = make_project(tmp_path, num_train=80, num_val=20).folder / "data/mnist/prepared"
    held_out = []
    for fold in range(5):
        data = DigitsDataModule(prepared, batch_size=10, seed=fold, fold=fold, num_folds=5)
        data.setup("fit")
        shown = {bytes(image) for image in data.arrays["train_images"]}
        hidden = [bytes(image) for image in data.arrays["val_images"]]
        assert (len(shown), len(hidden)) == (80, 20)
        assert not shown & set(hidden)
        held_out += hidden
    assert len(set(held_out)) == 100


def test_the_order_differs_by_epoch_and_by_seed_and_never_otherwise(tmp_path: Path) -> None:
    project = make_project(tmp_path, num_train=40, num_val=10)

    def order(*, seed: int, epoch: int) -> list[int]:
        data = DigitsDataModule(project.folder / "data/mnist/prepared", batch_size=10, seed=seed)
        data.setup("fit")
        data.trainer = SimpleNamespace(current_epoch=epoch, max_epochs=5)  # type: ignore[assignment]
        return [
            int(frame.sum())
            for frames_SBHW, _ in data.train_dataloader()
            for frame in frames_SBHW.flatten(0, 1)
        ]

    assert order(seed=1, epoch=0) == order(seed=1, epoch=0)
    assert order(seed=1, epoch=0) != order(seed=1, epoch=1)
    assert order(seed=1, epoch=0) != order(seed=2, epoch=0)
    assert sorted(order(seed=1, epoch=0)) == sorted(order(seed=2, epoch=5))


def test_seeds_of_neighbouring_epochs_and_seeds_are_all_different() -> None:
    assert len({epoch_seed(seed, epoch) for seed in range(20) for epoch in range(20)}) == 400


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda path: path.unlink(), FileNotFoundError, "is missing; run `dvc repro prepare`"),
        (lambda path: path.write_bytes(path.read_bytes()[:999]), ValueError, "is damaged"),
    ],
)
def test_prepared_images_that_cannot_be_read_are_named(
    damage: object, error: type[Exception], message: str, tmp_path: Path
) -> None:
    prepared = make_project(tmp_path, num_train=20, num_val=10).folder / "data/mnist/prepared"
    damage(prepared / "train.npz")  # type: ignore[operator]
    with pytest.raises(error, match=f"train.npz {message}"):
        DigitsDataModule(prepared, batch_size=10, seed=1).setup("fit")


def rates(schedule: object, total_steps: int, **options: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = schedule(optimizer, total_steps=total_steps, **options)  # type: ignore[operator]
    seen = []
    for _ in range(total_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_one_cycle_goes_up_to_the_rate_for_its_share_of_the_steps_and_down_to_nothing() -> None:
    seen = rates(one_cycle, 101, warmup=0.25)
    assert max(seen) == pytest.approx(0.5, rel=1e-2)
    assert 23 <= seen.index(max(seen)) <= 26
    assert seen[-1] < 1e-4
    assert rates(constant, 5) == [0.5] * 5


@pytest.mark.parametrize("total_steps", range(1, 9))
def test_one_cycle_can_be_as_short_as_one_step(total_steps: int) -> None:
    assert max(rates(one_cycle, total_steps, warmup=0.25)) == pytest.approx(0.5)


def test_a_plateau_cuts_the_rate_once_the_validation_loss_has_not_fallen_for_some_epochs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = plateau(optimizer, total_steps=9, factor=0.2, patience=1)
    seen = []
    for loss in (1.0, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8):
        schedule.step(loss)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx([0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.02])


def test_a_warm_up_that_takes_all_the_steps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"schedule.warmup must be in \[0, 1\), got 1"):
        rates(one_cycle, 10, warmup=1)


@pytest.fixture(scope="module")
def exported() -> tuple[Network, bytes]:
    network = tiny_network()
    return network, to_onnx(network, image_size=28)


def test_onnx_runtime_answers_as_torch_does_for_any_number_of_frames(
    exported: tuple[Network, bytes],
) -> None:
    network, model = exported
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for num in (1, 2, 7):
        frames_BHW = frames(num, seed=num)
        (logits_BK,) = session.run(None, {"frames": frames_BHW.numpy()})
        np.testing.assert_allclose(logits_BK, network(frames_BHW).detach().numpy(), atol=1e-4)
    np.testing.assert_array_equal(
        check_parity(network, model, frames(7, seed=7).numpy()), logits_BK
    )


def test_the_exported_bytes_depend_on_the_weights_alone(exported: tuple[Network, bytes]) -> None:
    _, model = exported
    assert to_onnx(tiny_network(), image_size=28) == model
    assert to_onnx(tiny_network(seed=1), image_size=28) != model
    # Neither stack traces nor the paths in them are in what is published.
    assert b".py" not in model
    assert str(Path(__file__).parent.parent).encode() not in model


def test_an_export_that_answers_otherwise_is_refused(exported: tuple[Network, bytes]) -> None:
    _, model = exported
    with pytest.raises(ValueError, match=r"disagree by .* the export is wrong, nothing was wri"):
        check_parity(tiny_network(seed=1), model, frames(4).numpy())


def test_an_export_that_answers_no_number_is_refused(exported: tuple[Network, bytes]) -> None:
    _, model = exported
    broken = tiny_network()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="disagree by nan"):
        check_parity(broken, model, frames(4).numpy())


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    rng = np.random.default_rng(0)
    calibrated_NK = rng.normal(0, 2, (20_000, 10))
    # The largest of logits plus Gumbel noise is a draw from their softmax.
    labels_N = (calibrated_NK + rng.gumbel(size=calibrated_NK.shape)).argmax(1).astype(np.uint8)
    logits_NK = (calibrated_NK * temperature).astype(np.float32)
    assert fit_temperature(logits_NK, labels_N) == pytest.approx(temperature, rel=0.04)


def test_a_sheet_shows_ink_dark_on_white() -> None:
    images_NHW = np.zeros((3, 4, 4), np.uint8)
    images_NHW[0] = 255
    picture = sheet(images_NHW, columns=2)
    assert picture.shape == (2 * 6 + 2, 2 * 6 + 2)
    assert picture.dtype == np.uint8
    assert (picture[2:6, 2:6] == 0).all()
    assert (picture[2:6, 8:12] == 255).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_auto_takes_the_cpu_where_there_is_no_gpu_and_gpu_is_refused() -> None:
    accelerator, precision = device.choose_device(accelerator="auto", precision="auto")
    fast = device.computes_bfloat16(torch.cpu.get_capabilities())
    assert (accelerator, precision) == ("cpu", "bf16-mixed" if fast else "32-true")
    with pytest.raises(ValueError, match="trainer=gpu needs a CUDA GPU and torch sees none here"):
        device.choose_device(accelerator="gpu", precision="bf16-mixed")
    assert device.choose_device(accelerator="cpu", precision="32-true") == ("cpu", "32-true")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_auto_takes_a_gpu_with_bfloat16_where_there_is_one() -> None:
    assert device.choose_device(accelerator="auto", precision="auto") == ("gpu", "bf16-mixed")


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="devices=3 needs as many GPUs and torch sees 2 here"):
        ranks.options(accelerator="gpu", devices=3, strategy="ddp")
    assert ranks.options(accelerator="gpu", devices="auto", strategy="ddp")["devices"] == 2
    assert ranks.options(accelerator="cpu", devices="auto", strategy="ddp")["devices"] == 1


@pytest.mark.parametrize(
    ("processor", "fast"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True, "avx2": True}, True),
        ({"avx2": True, "avx512_bf16": False}, False),
        ({}, False),
    ],
)
def test_bfloat16_is_for_processors_that_have_it(processor: dict[str, object], fast: bool) -> None:
    assert device.computes_bfloat16(processor) is fast
