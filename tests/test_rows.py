"""Several digits side by side: found, told from one digit in pieces, and read one by one."""

import numpy as np
import pytest
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageOps

from digits.handwriting.pen import draw_digit
from digits.reading import reader
from digits.reading.normalize import Frames, NDArrayU8, normalize, normalize_row
from digits.reading.predictor import Predictor

GAP = 12  # px between neighbours


def cut_out(digit: int, rng: Generator) -> Image.Image:
    sheet = draw_digit(digit, rng)
    return sheet.crop(sheet.getbbox())


def in_a_row(digits: list[int], *, seed: int) -> Image.Image:
    """Dark digits on light paper, not quite on one line."""
    rng = np.random.default_rng(seed)
    parts = [cut_out(digit, rng) for digit in digits]
    sheet = Image.new("L", (sum(part.width + GAP for part in parts) + 40, 150))
    x = 26
    for part in parts:
        sheet.paste(part, (x, 35 + int(rng.integers(-8, 9))))
        x += part.width + GAP
    return ImageOps.invert(sheet)


@pytest.mark.parametrize("digits", [[4, 2], [1, 1], [0, 7, 5], [3, 8, 6, 9]])
@pytest.mark.parametrize("seed", range(5))
def test_digits_side_by_side_are_each_framed(digits: list[int], seed: int) -> None:
    found = normalize_row(in_a_row(digits, seed=seed))
    assert len(found.row) == len(digits)
    assert found.together is not None
    rng = np.random.default_rng(seed)
    alone = [normalize(ImageOps.expand(cut_out(digit, rng), 30)) for digit in digits]
    for frame, expected in zip(found.row, alone, strict=True):
        assert np.corrcoef(frame.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("digit", range(10))
def test_one_digit_is_no_row_however_it_is_written(digit: int) -> None:
    rng = np.random.default_rng(digit)
    for _ in range(20):
        found = normalize_row(draw_digit(digit, rng))
        assert (found.row, found.together) == ((), None)


def test_a_neighbour_that_the_edge_cuts_off_is_no_second_digit() -> None:
    sheet = in_a_row([5, 6], seed=1)
    left_of_it = normalize_row(sheet.crop((0, 0, sheet.width - 60, sheet.height)))
    assert left_of_it.row == ()


def test_a_dot_and_a_dash_beside_a_digit_are_no_row() -> None:
    sheet = ImageOps.expand(ImageOps.invert(in_a_row([8], seed=0)), (0, 0, 80, 0))
    pen = ImageDraw.Draw(sheet)
    pen.ellipse((sheet.width - 70, 100, sheet.width - 60, 110), fill=255)
    pen.line((sheet.width - 50, 70, sheet.width - 20, 70), fill=255, width=8)
    assert normalize_row(sheet).row == ()


class Knowing(Predictor):
    """Reads the grey of a frame's first pixel, and believes in what is bright enough."""

    def __init__(self) -> None:
        self.classes = tuple(range(10))

    def answers(self, frames_BHW: NDArrayU8) -> list[dict[str, object]]:
        accepted = self.accepts(frames_BHW)
        return [
            {
                "digit": int(frame[0, 0]) % 10,
                "confidence": 0.9,
                "accepted": bool(fine),
                "reason": None if fine else "unsure" if frame[0, 0] >= 5 else "unlike_a_digit",
            }
            for frame, fine in zip(frames_BHW, accepted, strict=True)
        ]

    def accepts(self, frames_BHW: NDArrayU8) -> NDArrayU8:
        return frames_BHW[:, 0, 0] >= 100


def grey(value: int) -> NDArrayU8:
    return np.full((28, 28), value, np.uint8)


ROW = (grey(104), grey(102))


@pytest.mark.parametrize(
    ("frames", "read"),
    [
        pytest.param(Frames(grey(104), 50), [], id="one digit"),
        pytest.param(Frames(grey(104), 50, ROW, grey(7)), [4, 2], id="all together are none"),
        pytest.param(Frames(grey(104), 50, ROW, grey(107)), [], id="a broken one"),
        pytest.param(Frames(grey(104), 50, (*ROW, grey(3)), grey(7)), [], id="a part is none"),
        pytest.param(Frames(grey(104), 50, (*ROW, grey(13)), grey(7)), [4, 2, 3], id="a doubt"),
        pytest.param(Frames(grey(104), 50, (grey(104), grey(13)), grey(7)), [], id="as many are"),
    ],
)
def test_a_row_is_one_where_each_part_is_a_digit_and_all_together_are_not(
    frames: Frames, read: list[int]
) -> None:
    (found,) = reader.answer(Knowing(), [frames])
    assert [part["digit"] for part in found["row"]] == read
    assert [part["accepted"] for part in found["row"]] == [digit != 3 for digit in read]
    assert found["digit"] == 4
    assert found["accepted"] == (not read)
    assert found["reason"] == ("several" if read else None)


@pytest.mark.parametrize(
    ("frame", "side", "reason"),
    [
        (grey(7), 9, "too_small"),
        (grey(7), 10, "unsure"),
        (grey(104), 9, None),
        (grey(7), 0, "unsure"),
    ],
)
def test_what_is_refused_and_has_few_pixels_is_too_small(
    frame: NDArrayU8, side: int, reason: str | None
) -> None:
    (found,) = reader.answer(Knowing(), [Frames(frame, side)])
    assert found["reason"] == reason


@pytest.mark.parametrize(("grey_level", "reason"), [(104, "unlike_a_digit"), (7, "unsure")])
def test_a_blot_is_unlike_a_digit_whatever_the_network_says(grey_level: int, reason: str) -> None:
    (found,) = reader.answer(Knowing(), [Frames(grey(grey_level), 40, blot=True)])
    assert (found["accepted"], found["reason"]) == (False, reason)


@pytest.mark.parametrize("side", [9, 40])
def test_the_size_of_the_ink_is_told(side: int) -> None:
    sheet = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(sheet).rectangle((90, 90, 92, 90 + side - 1), fill=0)
    assert normalize_row(sheet).side == side
