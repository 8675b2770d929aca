"""Drawn images: digits in every way they are written, every kind of non-digit, the same bytes."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pytest

from digits import settings, synthesize
from digits.handwriting import nondigits, pen
from digits.handwriting.templates import DIGITS, SIGNS, Glyph
from digits.reading.normalize import normalize

MNIST = settings.load_dataset("mnist")


def dataset(**counts: int) -> settings.Dataset:
    return dataclasses.replace(MNIST, synthetic=settings.Synthetic(**counts))


def test_same_images_whatever_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesize, "AT_ONCE", 7)
    written = []
    for cores in (1, 3):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        out = tmp_path / str(cores) / "synthetic.npz"
        synthesize.run(dataset=dataset(digits=20, nondigits=16), out=out, report=out.parent)
        written.append(out.read_bytes())
        assert (out.parent / "synthetic.png").stat().st_size > 1000
    assert written[0] == written[1]
    with np.load(out) as arrays:
        # The last tenth is kept from training.
        assert arrays["images"].shape == (18, 28, 28)
        assert arrays["heldout_images"].shape == (2, 28, 28)
        assert arrays["labels"].tolist() == [*range(10), *range(8)]
        assert arrays["heldout_labels"].tolist() == [8, 9]
        others = np.concatenate((arrays["nondigits"], arrays["heldout_nondigits"]))
        assert others.shape == (16, 28, 28)
        # Later images are not the first ones again.
        assert len({image.tobytes() for image in others}) == 16


def test_labels_are_places_in_the_classes(tmp_path: Path) -> None:
    backwards = dataclasses.replace(
        dataset(digits=3, nondigits=0), classes=tuple(range(9, -1, -1)), image_size=20
    )
    arrays = synthesize.run(dataset=backwards, out=tmp_path / "s.npz", report=tmp_path)
    assert [*arrays["labels"], *arrays["heldout_labels"]] == [9, 8, 7]
    assert arrays["images"].shape[1:] == (20, 20)
    assert arrays["nondigits"].shape == (0, 20, 20)


def test_some_are_taken_from_afar_and_have_few_pixels() -> None:
    rng = np.random.default_rng(0)
    sheet = pen.draw_digit(7, rng)
    sides = [synthesize._near_or_far(sheet, rng).height for _ in range(400)]
    far = [side for side in sides if side != pen.SIDE]
    assert len(far) / len(sides) == pytest.approx(synthesize.FAR, abs=0.06)
    smallest, largest = (px / pen.HEIGHT * pen.SIDE for px in synthesize.FAR_HEIGHTS)
    assert smallest - 1 <= min(far) < smallest + 3
    assert largest - 3 < max(far) <= largest + 1


def test_drawn_digits_can_be_told_apart() -> None:
    """Each is nearest to another drawing of the same digit: a template in the wrong row is not."""
    rng = np.random.default_rng(0)
    frames, labels = [], []
    for _ in range(40):
        for digit in DIGITS:
            frames.append(normalize(pen.draw_digit(digit, rng)).ravel().astype(float))
            labels.append(digit)
    known, asked = np.array(frames[::2] + frames[1::4]), np.array(frames[3::4])
    known_labels = np.array(labels[::2] + labels[1::4])
    distances = np.linalg.norm(asked[:, None] - known[None], axis=2)
    found = known_labels[distances.argmin(axis=1)]
    assert (found == np.array(labels[3::4])).mean() > 0.8


@pytest.mark.parametrize("glyph", [*chain(*DIGITS.values()), *SIGNS], ids=str)
def test_every_way_of_writing_stays_on_the_sheet(glyph: Glyph) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        sheet = np.asarray(pen.draw(glyph, rng))
        assert sheet.shape == (pen.SIDE, pen.SIDE)
        assert sheet.max() == 255
        border = np.concatenate((sheet[[0, -1]].ravel(), sheet[:, [0, -1]].ravel()))
        assert border.max() == 0, "cut off"


@pytest.mark.parametrize("kind", nondigits.KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_non_digit_is_drawn(kind: object) -> None:
    rng = np.random.default_rng(0)
    frames = [normalize(kind(rng)) for _ in range(10)]  # type: ignore[operator]
    assert all(frame.any() for frame in frames)
    assert len({frame.tobytes() for frame in frames}) == 10


def test_shares_of_kinds_make_a_whole() -> None:
    assert sum(nondigits.KINDS.values()) == pytest.approx(1)


def test_letters_are_in_the_fonts() -> None:
    """A sign that a font lacks would be drawn as an empty box, thousands of times."""

    from fontTools.ttLib import TTFont
    from matplotlib import get_data_path

    for font in nondigits.FONTS:
        path = Path(get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
        known = TTFont(path).getBestCmap()
        assert not [letter for letter in nondigits.LETTERS if ord(letter) not in known], font


def test_ctrl_c_ends_it_with_a_sentence_and_leaves_what_was_there(tmp_path: Path) -> None:
    shutil.copytree(settings.CONF, tmp_path / "conf")
    out = tmp_path / "data" / "mnist" / "synthetic.npz"
    out.parent.mkdir(parents=True)
    out.write_bytes(b"before")
    drawing = subprocess.Popen(
        [sys.executable, "-m", "digits.synthesize", "--data", "mnist"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    give_up = time.monotonic() + 30
    while len(psutil.Process(drawing.pid).children()) < 2 and time.monotonic() < give_up:
        time.sleep(0.05)
    os.killpg(drawing.pid, signal.SIGINT)  # as a terminal does: to it and to those it started
    said, complaint = drawing.communicate(timeout=30)
    assert (said, complaint) == ("", "synthesize: stopped; `dvc repro` goes on from here\n")
    assert drawing.returncode == 130
    assert out.read_bytes() == b"before"
    assert [path.name for path in out.parent.iterdir()] == ["synthetic.npz"]
