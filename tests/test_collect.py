"""Folders of pictures become a data set that the pipeline takes."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from digits import collect, fetch, prepare, settings
from digits.reading.normalize import read_frame
from drawn import drawn_digit

ROOT = Path(__file__).resolve().parents[1]
NUM = 5  # pictures of a class


def draw(folder: Path, *, names: list[str], num: int = NUM, seed: int = 1) -> None:
    rng = np.random.default_rng(seed)
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(num):
            drawn_digit(label, rng=rng).save(folder / name / f"{index}.png")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "digits.collect", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_pictures_go_through_the_pipelines_first_stages(here: Path) -> None:
    draw(here / "pictures", names=[str(digit) for digit in range(10)])
    (here / "pictures/3/blank.png").write_bytes((ROOT / "docs/seven.jpg").read_bytes()[:100])
    told = run("pictures", "--name", "mine")
    assert told.returncode == 0, told.stderr
    assert "mine: 40 pictures to learn from, 10 to report on, of 10 classes" in told.stdout
    assert told.stderr.startswith("left out: pictures/3/blank.png: ")

    dataset = settings.load_dataset("mine")
    assert dataset.classes == tuple(range(10))
    assert dataset.synthetic.digits > 0
    report = fetch.run(dataset=dataset, fallback="none", out=here / "raw", root=here)
    assert (report.name, report.fallback) == ("mine", False)
    prepared = prepare.run(
        raw=here / "raw",
        out=here / "prepared",
        report=here,
        num_train=dataset.num_train,
        num_test=dataset.num_test,
        val_size=0.25,
        seed=0,
    )
    assert prepared["images_per_class"]["test"] == [1] * 10
    with np.load(here / "prepared/test.npz") as arrays:
        for frame_HW, label in zip(arrays["images"], arrays["labels"], strict=True):
            pictures = (here / f"pictures/{label}").glob("?.png")
            assert any((read_frame(one.read_bytes()) == frame_HW).all() for one in pictures)


def test_a_folder_to_report_on_is_kept_apart_and_names_are_classes(here: Path) -> None:
    draw(here / "ours", names=["up", "down"])
    draw(here / "theirs", names=["up", "down"], num=2, seed=2)
    told = run("ours", "--name", "arrows", "--test", "theirs", "--size", "16", "--licence", "CC0")
    assert told.returncode == 0, told.stderr
    dataset = settings.load_dataset("arrows")
    assert (dataset.classes, dataset.image_size) == (("down", "up"), 16)
    assert (dataset.num_train, dataset.num_test, dataset.licence) == (10, 4, "CC0")
    assert (dataset.synthetic.digits, dataset.synthetic.nondigits) == (0, 0)


def test_a_picture_that_is_there_twice_is_taken_once(here: Path) -> None:
    draw(here / "pictures", names=["0", "1"], num=4)
    shutil.copyfile(here / "pictures/0/0.png", here / "pictures/0/copy.png")
    (told,) = collect.run(Path("pictures"), name="once", size=28, test=None, licence="CC0")
    assert told in (
        "pictures/0/copy.png: the same picture as pictures/0/0.png",
        "pictures/0/0.png: the same picture as pictures/0/copy.png",
    )
    dataset = settings.load_dataset("once")
    assert dataset.num_train + dataset.num_test == 8
    with pytest.raises(ValueError, match=r"once.yaml and once are there already; remove them"):
        collect.run(Path("pictures"), name="once", size=28, test=None, licence="CC0")


def test_numbers_are_classes_in_their_order(here: Path) -> None:
    draw(here / "pictures", names=["2", "10", "1"], num=2)
    collect.run(Path("pictures"), name="n", size=28, test=None, licence="CC0")
    assert yaml.safe_load(Path("conf/data/n.yaml").read_text())["classes"] == [1, 2, 10]


def test_what_is_no_data_set_is_said_and_nothing_is_written(here: Path) -> None:
    draw(here / "pictures", names=["0", "1"], num=2)
    (here / "one/0").mkdir(parents=True)
    (here / "few/0").mkdir(parents=True)
    (here / "few/1").mkdir()
    draw(here / "others", names=["0", "2"], num=2)
    draw(here / "damaged", names=["0", "1"], num=2)
    for path in (here / "damaged/1").iterdir():
        path.write_bytes(b"no image")
    (here / "taken").mkdir()
    for words, sentence in (
        (("none", "--name", "n"), "none is no folder"),
        (("one", "--name", "n"), "one must have at least two folders"),
        (("few", "--name", "n"), "there is no train picture of class 0 that can be read; put more"),
        (("damaged", "--name", "n"), "there is no train picture of class 1 that can be read (dam"),
        (("pictures", "--name", "n", "--test", "others"), "others must have the folders of"),
        (("pictures", "--name", "a/b"), "--name must be letters, digits, _ and -, got 'a/b'"),
        (("pictures", "--name", "n", "--size", "4"), "--size must be at least 8 pixels, got 4"),
        (("pictures", "--name", "taken"), "taken is there already; remove it, or choose another"),
    ):
        told = run(*words)
        assert told.returncode == 1
        assert told.stderr.startswith(f"collect: {sentence}"), told.stderr
        assert not (here / "conf").exists()
        assert not (here / "n").exists()
