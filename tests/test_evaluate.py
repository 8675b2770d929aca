"""What evaluate writes of a bundle and of test images, and what it says when they are not there."""

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from digits import evaluate
from digits.corruptions import CORRUPTIONS, corrupt
from digits.reading.predictor import MOST_AT_ONCE, Predictor
from digits.reporting.answers import Answers, draw
from drawn import drawn_set
from serving_fixtures import write_bundle
from stores import new_store

NUM = 41
FILES = ("metrics", "details")

# MLflow's SQL store asks SQLAlchemy for something that it no longer recommends.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


MORE = {"num_parameters": 7840, "rejection": {"threshold": 3.0, "refused": 0.5}}


def make_model(model: Path) -> Path:
    """A model of random weights, whose run is in no MLflow store."""
    write_bundle(model / "bundle", seed=0)
    meta = json.loads((model / "bundle/model.json").read_text())
    (model / "bundle/model.json").write_text(json.dumps(meta | MORE))
    trained = {"run_id": "0" * 32, "git_commit": "abc", "train_s": 36.0, "trainer": "cpu 32-true"}
    (model / "run.json").write_text(json.dumps(trained))
    return model


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Path]:
    """The folder, the metrics and the test images of one evaluation."""
    folder = tmp_path_factory.mktemp("evaluated")
    images_NHW, labels_N = drawn_set(NUM, seed=3)
    np.savez(folder / "test.npz", images=images_NHW, labels=labels_N)
    np.savez(
        folder / "synthetic.npz",
        heldout_images=images_NHW[:20],
        heldout_labels=labels_N[:20],
        heldout_nondigits=255 - images_NHW[:10],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", new_store(folder / "empty.db"))
        metrics = evaluate.run(
            model=make_model(folder / "model"),
            test=folder / "test.npz",
            synthetic=folder / "synthetic.npz",
            report=folder / "report",
        )
    return folder, metrics, folder / "test.npz"


def test_the_metrics_are_those_of_the_bundles_own_answers(
    evaluated: tuple[Path, dict[str, Any], Path],
) -> None:
    folder, metrics, test = evaluated
    files = [json.loads((folder / f"report/{name}.json").read_text()) for name in FILES]
    assert metrics == files[0] | files[1]
    assert files[1].keys() == {"per_class", "corrupted_accuracy"}
    with np.load(test) as arrays:
        predictor = Predictor.open(folder / "model/bundle")
        hits_N = predictor.probabilities(arrays["images"]).argmax(axis=1) == arrays["labels"]
    assert metrics["num_images"] == NUM
    assert metrics["accuracy"] == hits_N.mean()
    assert metrics["num_errors"] == NUM - hits_N.sum()
    assert metrics["accuracy_by_half"] == {
        "first_half": hits_N[:21].mean(),
        "second_half": hits_N[21:].mean(),
    }
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]
    assert sum(row["num"] for row in metrics["per_class"].values()) == NUM
    assert list(metrics["per_class"]) == [str(digit) for digit in range(10)]
    assert metrics["num_parameters"] == 7840
    assert metrics["onnx_bytes"] == (folder / "model/bundle/model.onnx").stat().st_size
    assert metrics["latency_ms"] > 0
    assert metrics["images_per_s"] > 0


def test_each_corruption_has_its_accuracy_and_they_have_a_mean(
    evaluated: tuple[Path, dict[str, Any], Path],
) -> None:
    folder, metrics, test = evaluated
    shares = metrics["corrupted_accuracy"]
    assert list(shares) == list(CORRUPTIONS)
    assert metrics["mean_corrupted_accuracy"] == pytest.approx(
        np.mean(list(shares.values())), abs=1e-6
    )
    with np.load(test) as arrays:
        frames_NHW = corrupt("stripe", arrays["images"], seed=evaluate.CORRUPTION_SEED)
        hits_N = (
            Predictor.open(folder / "model/bundle").probabilities(frames_NHW).argmax(axis=1)
            == arrays["labels"]
        )
    assert shares["stripe"] == hits_N.mean()


def test_the_confusion_table_has_a_line_an_image(
    evaluated: tuple[Path, dict[str, Any], Path],
) -> None:
    folder, metrics, test = evaluated
    with (folder / "report/confusion.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(test) as arrays:
        assert [int(row["actual"]) for row in rows] == arrays["labels"].tolist()
    right = sum(row["actual"] == row["predicted"] for row in rows)
    assert right == round(metrics["accuracy"] * NUM)


def test_what_is_refused_is_counted_of_digits_and_of_others(
    evaluated: tuple[Path, dict[str, Any], Path],
) -> None:
    folder, metrics, test = evaluated
    predictor = Predictor.open(folder / "model/bundle")
    with np.load(test) as arrays, np.load(folder / "synthetic.npz") as drawn:
        refused = [not answer["accepted"] for answer in predictor.answers(arrays["images"])]
        others = [answer["accepted"] for answer in predictor.answers(drawn["heldout_nondigits"])]
        hits_N = predictor.probabilities(drawn["heldout_images"]).argmax(axis=1)
        handwriting = (hits_N == drawn["heldout_labels"]).mean()
    assert {*refused} == {True, False}
    assert metrics["refused_share"] == pytest.approx(np.mean(refused), abs=1e-6)
    assert metrics["nondigits_accepted_share"] == np.mean(others)
    assert metrics["handwriting_accuracy"] == handwriting


def test_without_drawn_images_nothing_is_said_of_them(tmp_path: Path) -> None:
    nothing = np.zeros((0, 28, 28), np.uint8)
    np.savez(
        tmp_path / "synthetic.npz",
        heldout_images=nothing,
        heldout_labels=np.zeros(0, np.uint8),
        heldout_nondigits=nothing,
    )
    predictor = Predictor.open(make_model(tmp_path / "model") / "bundle")
    assert evaluate.score_drawn(predictor, tmp_path / "synthetic.npz") == {}


@pytest.mark.parametrize("num_frames", [1, MOST_AT_ONCE, MOST_AT_ONCE + 1, 3 * MOST_AT_ONCE])
def test_many_frames_are_answered_each_as_alone(tmp_path: Path, num_frames: int) -> None:
    predictor = Predictor.open(make_model(tmp_path / "model") / "bundle")
    frames_NHW = np.random.default_rng(1).integers(0, 256, (num_frames, 28, 28), np.uint8)
    alone_NK = np.concatenate([predictor.outputs(frame_HW[None]) for frame_HW in frames_NHW])
    assert predictor.outputs(frames_NHW) == pytest.approx(alone_NK, abs=1e-4)


def test_the_pictures_are_pictures_and_the_same_each_time(
    evaluated: tuple[Path, dict[str, Any], Path], tmp_path: Path
) -> None:
    folder, _, test = evaluated
    with np.load(test) as arrays:
        images_NHW, labels_N = arrays["images"], arrays["labels"]
    predictor = Predictor.open(folder / "model/bundle")
    probabilities_NK = predictor.probabilities(images_NHW)
    answers = Answers(predictor.classes, images_NHW, labels_N, probabilities_NK)
    drawn = draw(tmp_path, answers, name="tiny")
    assert {path.name for path in drawn} == {"confusion.png", "mistakes.png", "predictions.png"}
    for path in drawn:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.read_bytes() == (folder / "report" / path.name).read_bytes()


def test_a_model_without_a_mistake_is_drawn_too(
    evaluated: tuple[Path, dict[str, Any], Path], tmp_path: Path
) -> None:
    folder, _, test = evaluated
    with np.load(test) as arrays:
        images_NHW, labels_N = arrays["images"], arrays["labels"]
    predictor = Predictor.open(folder / "model/bundle")
    answers = Answers(predictor.classes, images_NHW, labels_N, np.eye(10)[labels_N])
    drawn = draw(tmp_path, answers, name="tiny")
    assert all(path.stat().st_size > 0 for path in drawn)


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        ("test.npz", None, r"test.npz is missing; run `dvc repro prepare`"),
        ("test.npz", b"PK\x03\x04", r"test.npz is damaged .*dvc repro -sf prepare"),
        ("model/run.json", None, r"run.json is missing; run `dvc repro train@model`"),
        ("model/run.json", b"{}", r"run.json is damaged .*dvc repro -sf train@model"),
        ("model/bundle/model.onnx", None, r"model.onnx is missing"),
        ("model/bundle/model.onnx", b"no", r"model.onnx is damaged"),
    ],
)
def test_what_is_missing_or_damaged_is_named_and_nothing_is_written(
    tmp_path: Path, path: str, content: bytes | None, sentence: str
) -> None:
    make_model(tmp_path / "model")
    np.savez(tmp_path / "test.npz", images=np.zeros((1, 28, 28), np.uint8), labels=np.zeros(1))
    if content is None:
        (tmp_path / path).unlink()
    else:
        (tmp_path / path).write_bytes(content)
    report = tmp_path / "report"
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        evaluate.run(model=tmp_path / "model", test=tmp_path / "test.npz", report=report)
    assert not report.exists()


def test_test_images_of_another_kind_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", pictures=np.zeros((1, 28, 28), np.uint8))
    assert zipfile.is_zipfile(tmp_path / "test.npz")
    with pytest.raises(ValueError, match=r"test.npz is damaged"):
        evaluate.run(
            model=make_model(tmp_path / "model"), test=tmp_path / "test.npz", report=tmp_path
        )
