"""Every expectation of the images, violated one at a time; and what is made of good ones."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digits import prepare
from digits.expectations import ExpectationFailed, Split, check
from digits.optdigits import idx
from digits.prepare import hold_out
from digits.settings import IDX_PATHS
from drawn import drawn_set
from training_fixtures import ROOT

U8 = NDArray[np.uint8]
NUM_TRAIN, NUM_TEST, VAL_SIZE = 200, 60, 50


@pytest.fixture(scope="module")
def arrays() -> dict[str, U8]:
    """Distinct drawn digits by role."""
    train, test = drawn_set(NUM_TRAIN, seed=0), drawn_set(NUM_TEST, seed=1)
    return dict(zip(IDX_PATHS, (*train, *test), strict=True))


def fetched(raw: Path, arrays: dict[str, U8], **source: Any) -> Path:
    """A folder such as the fetch stage leaves."""
    for role, path in IDX_PATHS.items():
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        (raw / path).write_bytes(idx(arrays[role]))
    facts = {
        "name": "drawn",
        "requested": "drawn",
        "fallback": False,
        "licence": "MIT",
        "classes": list(range(10)),
        "image_size": 28,
        "sha256": dict.fromkeys(IDX_PATHS, ""),
        **source,
    }
    (raw / "source.json").write_text(json.dumps(facts))
    return raw


def run(raw: Path, to: Path, **settings: Any) -> dict[str, Any]:
    defaults = {"num_train": NUM_TRAIN, "num_test": NUM_TEST, "val_size": VAL_SIZE, "seed": 1}
    return prepare.run(raw=raw, out=to / "out", report=to / "report", **{**defaults, **settings})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_is_written_is_what_was_fetched_split_in_two(
    tmp_path: Path, arrays: dict[str, U8]
) -> None:
    report = run(fetched(tmp_path / "raw", arrays), tmp_path)
    assert report == json.loads((tmp_path / "report/data.json").read_text())
    assert (report["num_train"], report["num_val"], report["num_test"]) == (150, 50, 60)
    assert report["images_per_class"]["validation"] == [5] * 10
    assert report["exact_duplicates"] == dict.fromkeys(
        ("within train", "within test", "across train and test"), 0
    )
    with np.load(tmp_path / "out/train.npz") as split, np.load(tmp_path / "out/test.npz") as test:
        assert report["mean"] == pytest.approx(split["train_images"].mean() / 255, abs=1e-6)
        assert report["std"] == pytest.approx(split["train_images"].std() / 255, abs=1e-6)
        together = {x.tobytes() for x in (*split["train_images"], *split["val_images"])}
        assert together == {image.tobytes() for image in arrays["train_images"]}
        assert np.array_equal(test["images"], arrays["test_images"])
        assert np.array_equal(test["labels"], arrays["test_labels"])
    assert (tmp_path / "report/data.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_split(
    tmp_path: Path, arrays: dict[str, U8]
) -> None:
    raw = fetched(tmp_path / "raw", arrays)
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        run(raw, tmp_path / name, seed=seed)
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    assert one["out/train.npz"] != other["out/train.npz"]
    assert one["out/test.npz"] == other["out/test.npz"]


def short(array: U8) -> U8:
    return array[:-1]


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "another kind of file": (
        {"train_images": lambda a: a.reshape(len(a), -1)},
        "magic number 2051 in train-images-idx3-ubyte, found 2050",
    ),
    "a label too few": (
        {"test_labels": short},
        "as many test labels as images, found 59 for 60",
    ),
    "another number of images": (
        {"test_labels": short, "test_images": short},
        "60 test images, found 59",
    ),
    "another shape": (
        {"train_images": lambda a: a[:, 2:]},
        "train images of 28x28 pixels, found (26, 28)",
    ),
    "an unknown label": (
        {"train_labels": lambda a: np.where(np.arange(len(a)) == 7, 10, a)},
        "train labels in 0..9, found 10 at image 7",
    ),
    "a blank image": (
        {"test_images": lambda a: a * (np.arange(len(a)) != 3)[:, None, None]},
        "no constant test image, found 1, the first at 3",
    ),
    "a class too many have": (
        {"train_labels": lambda a: np.where(a < 7, 0, a)},
        "train images of class 0 (an even share is 20), found 140",
    ),
    "a class nobody has": (
        {"train_labels": lambda a: np.where(a == 9, np.arange(len(a)) % 9, a)},
        "1 to 58 train images of class 9 (an even share is 20), found 0",
    ),
    "copies within": (
        {"train_images": lambda a: a[np.arange(len(a)) // 2]},
        "at most 2 exact duplicates within train, found 100",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_violated_expectation_is_named_and_leaves_what_was_there(
    tmp_path: Path, arrays: dict[str, U8], what: str
) -> None:
    changes, sentence = BROKEN[what]
    broken = {role: array.copy() for role, array in arrays.items()}
    for role, change in changes.items():
        broken[role] = change(broken[role]).astype(np.uint8)
    for name in ("out", "report"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.json").write_text("old")
    before = contents(tmp_path / "out") | contents(tmp_path / "report")
    with pytest.raises(ExpectationFailed, match=re.escape(sentence)):
        run(fetched(tmp_path / "raw", broken), tmp_path)
    assert contents(tmp_path / "out") | contents(tmp_path / "report") == before


def test_test_images_among_the_training_images_are_found(
    tmp_path: Path, arrays: dict[str, U8]
) -> None:
    leaked = arrays | {"test_images": arrays["train_images"][:NUM_TEST]}
    leaked["test_labels"] = arrays["train_labels"][:NUM_TEST]
    with pytest.raises(ExpectationFailed, match="duplicates across train and test, found 60"):
        run(fetched(tmp_path / "raw", leaked), tmp_path)


def test_a_file_that_is_cut_short_missing_or_of_no_known_origin_is_named(
    tmp_path: Path, arrays: dict[str, U8]
) -> None:
    raw = fetched(tmp_path / "raw", arrays)
    path = raw / IDX_PATHS["train_images"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="dvc repro fetch"):
        run(raw, tmp_path)
    path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"train-images.* is missing; run `dvc repro fetch`"
    ):
        run(raw, tmp_path)
    (raw / "source.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"source.json is missing; run `dvc repro fetch`"):
        run(raw, tmp_path)


@pytest.mark.parametrize("val_size", [9, 191, 5000])
def test_a_validation_split_that_cannot_be_held_out_is_refused(
    tmp_path: Path, arrays: dict[str, U8], val_size: int
) -> None:
    sentence = f"val_size must be in 10..190 for 200 images of 10 classes, got {val_size}"
    with pytest.raises(ValueError, match=re.escape(sentence)):
        run(fetched(tmp_path / "raw", arrays), tmp_path, val_size=val_size)


def test_a_validation_split_of_none_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["prepare", "--val-size", "0"])
    with pytest.raises(SystemExit):
        prepare.main()
    assert "val_size must be a number of images, or a share between" in capsys.readouterr().err


@pytest.mark.parametrize(("val_size", "warned"), [(99, True), (100, False)])
def test_few_validation_images_are_warned_of(
    tmp_path: Path,
    arrays: dict[str, U8],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    val_size: int,
    warned: bool,
) -> None:
    report = run(fetched(tmp_path / "raw", arrays), tmp_path, val_size=val_size)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["prepare", "--data", "mnist"])
    monkeypatch.setattr(prepare, "run", lambda **_: report)
    prepare.main()
    warning = "warning: 99 validation images are few to choose a model by"
    assert (warning in capsys.readouterr().err) is warned


@pytest.mark.parametrize("fallback", [False, True])
def test_a_share_is_held_out_of_whatever_there_is(
    tmp_path: Path, arrays: dict[str, U8], fallback: bool
) -> None:
    raw = fetched(tmp_path / "raw", arrays, fallback=fallback)
    report = run(raw, tmp_path, val_size=0.3)
    assert (report["num_train"], report["num_val"]) == (140, 60)


def test_of_a_stand_in_the_same_share_is_held_out_and_it_never_looks_settled(
    tmp_path: Path, arrays: dict[str, U8]
) -> None:
    raw = fetched(tmp_path / "raw", arrays, fallback=True, requested="mnist")
    report = run(raw, tmp_path, num_train=60_000, num_test=10_000, val_size=6000)
    assert (report["num_train"], report["num_val"]) == (180, 20)
    assert (report["name"], report["requested"], report["fallback"]) == ("drawn", "mnist", True)
    assert not (raw / "source.json").exists()


def test_the_split_keeps_the_share_of_each_class_within_one_image() -> None:
    rng = np.random.default_rng(0)
    labels_N = rng.choice(5, 1000, p=[0.1, 0.15, 0.2, 0.25, 0.3]).astype(np.uint8)
    images_NHW = np.arange(1000, dtype=np.int64).view(np.uint8).reshape(1000, 2, 4)
    train, val = hold_out(Split(images=images_NHW, labels=labels_N), val_size=130, seed=3)
    assert (len(train), len(val)) == (870, 130)
    wanted = np.bincount(labels_N) * 0.13
    assert np.abs(np.bincount(val.labels) - wanted).max() < 1
    ids = [split.images.reshape(-1, 8).view(np.int64).ravel() for split in (train, val)]
    assert not set(ids[0]) & set(ids[1])
    assert all((np.diff(part) > 0).all() for part in ids)
    assert np.array_equal(labels_N[ids[1]], val.labels)


def test_a_class_with_a_single_image_cannot_be_learned_and_checked() -> None:
    labels_N = np.array([0] * 10 + [1], np.uint8)
    images_NHW = np.zeros((11, 2, 2), np.uint8)
    with pytest.raises(ExpectationFailed, match="at least two training images of a class"):
        hold_out(Split(images=images_NHW, labels=labels_N), val_size=4, seed=1)


def test_few_images_may_be_uneven_by_chance_and_many_may_not() -> None:
    rng = np.random.default_rng(0)
    for num, may in ((30, True), (3000, False)):
        images_NHW = rng.integers(0, 255, (num, 4, 4), np.uint8)
        labels_N = (np.arange(num) % 9).astype(np.uint8)  # none of the tenth class
        split = Split(images=images_NHW, labels=labels_N)
        if may:
            check(split, where="test", image_size=4, classes=list(range(10)))
            continue
        with pytest.raises(ExpectationFailed, match="test images of class 9"):
            check(split, where="test", image_size=4, classes=list(range(10)))
