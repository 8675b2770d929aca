"""Whole trainings in this process, on a few images: what is kept, and how the rate goes."""

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

with warnings.catch_warnings():
    # Lightning and the ONNX exporter warn, while they are imported, of what they use of others.
    warnings.simplefilter("ignore")
    import torch
    from safetensors.torch import save_file

    from digits.learning.export import load_network
    from digits.learning.session import Session
from digits import configuration
from digits.training import read_data_facts
from training_fixtures import make_project


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Session]:
    """Make a session on a few images, with a checkpoint folder of its own."""
    project = make_project(tmp_path, num_train=320, num_val=20)
    prepared = project.folder / "data/mnist/prepared"
    numbers = itertools.count()

    def make(*overrides: str) -> Session:
        config = configuration.compose(
            ["model=mlp", "training.batch_size=40", "trainer=cpu", *overrides]
        )
        config["prepared"] = str(prepared)
        scratch = tmp_path / f"checkpoint_{next(numbers)}"
        return Session(config, data=read_data_facts(prepared), scratch=scratch)

    return make


@pytest.mark.parametrize(("keep", "chosen"), [("last", -1), ("best", 0)])
def test_the_weights_kept_are_those_of_the_last_epoch_or_of_the_best(
    keep: str, chosen: int, start: Callable[..., Session], tmp_path: Path
) -> None:
    # So high a rate after the first epochs that what was learned is lost again.
    session = start(f"training.keep={keep}", "training.epochs=3", "schedule=constant", "seed=3")
    learner = session._learner

    def spoil(row: dict[str, float]) -> None:
        learner.optimizers().param_groups[0]["lr"] = 0.3  # type: ignore[union-attr]

    history = session.fit(on_epoch=spoil)
    assert history[0]["val_accuracy"] > history[-1]["val_accuracy"]
    meta = session.write_bundle(tmp_path, lineage={})
    assert meta["validation"]["accuracy"] == pytest.approx(
        history[chosen]["val_accuracy"], abs=0.06
    )


def test_a_rate_that_goes_by_the_step_falls_within_the_epochs(
    start: Callable[..., Session],
) -> None:
    session = start("schedule=one_cycle", "training.epochs=3")
    first, second, last = (row["learning_rate"] for row in session.fit(on_epoch=print))
    assert first > second > last


def test_a_rate_that_goes_by_the_validation_loss_is_cut_after_an_epoch_without_progress(
    start: Callable[..., Session],
) -> None:
    session = start(
        *("schedule=plateau", "schedule.patience=0", "training.epochs=3"),
        *("optimizer=sgd", "optimizer.lr=1e-6", "augment=none"),
    )
    rates = [row["learning_rate"] for row in session.fit(on_epoch=print)]
    assert rates == pytest.approx([1e-6, 1e-6, 2e-7])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_steps_taken_at_once_train_as_steps_taken_one_by_one(
    precision: str,
    start: Callable[..., Session],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = []
    for at_once in (1, 16):
        monkeypatch.setattr("digits.learning.data.STEPS_AT_ONCE", at_once)
        session = start("training.epochs=2", f"trainer.precision={precision}")
        session.fit(on_epoch=print)
        session.write_bundle(tmp_path, lineage={})
        weights.append((tmp_path / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_compiled_steps_train_the_same_network(
    start: Callable[..., Session], tmp_path: Path
) -> None:
    """As on a GPU, but for what the backend makes of the graph: this one leaves it alone."""
    losses = []
    torch._dynamo.utils.counters.clear()
    for backend in ("null", "aot_eager"):
        session = start("training.epochs=2", f"trainer.compile={backend}")
        losses.append([row["train_loss"] for row in session.fit(on_epoch=print)])
        session.write_bundle(tmp_path, lineage={})
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


def test_a_student_learns_from_its_teacher_and_not_from_the_labels(
    start: Callable[..., Session], tmp_path: Path
) -> None:
    teacher = start("model.num_members=2", "training.epochs=6")
    teacher.fit(on_epoch=print)
    (tmp_path / "teacher").mkdir()
    meta = teacher.write_bundle(tmp_path / "teacher", lineage={})
    assert meta["num_parameters"] == 2 * 118_282
    student = start(f"training.teacher={tmp_path / 'teacher'}", "training.epochs=6")
    labels_N = student._data.arrays["train_labels"]
    labels_N[:] = 0  # whatever they say
    student._data.setup("fit")
    history = student.fit(on_epoch=print)
    assert history[-1]["val_accuracy"] > 0.6


def test_a_bundle_gives_the_network_back_that_it_was_made_of(
    start: Callable[..., Session], tmp_path: Path
) -> None:
    averaged = "model.test_time_augmentation=true"
    session = start("model.num_members=2", averaged, "training.epochs=1")
    session.fit(on_epoch=print)
    session.write_bundle(tmp_path, lineage={})
    frames_BHW = torch.from_numpy(session._data.arrays["val_images"])
    network, num_outputs = load_network(tmp_path)
    assert network.eval()(frames_BHW).shape[1] == num_outputs
    torch.testing.assert_close(
        network(frames_BHW), session._learner.trained_network().eval()(frames_BHW)
    )


@pytest.mark.parametrize("file", ["model.json", "weights.safetensors"])
def test_a_teacher_that_is_damaged_or_not_there_is_named(file: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no bundle to learn from .* train one first"):
        load_network(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    save_file({}, tmp_path / "weights.safetensors")
    (tmp_path / file).write_bytes(b"{")
    with pytest.raises(ValueError, match="is damaged"):
        load_network(tmp_path)
