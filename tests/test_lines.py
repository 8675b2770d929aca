"""Ruled and squared paper: its lines are no ink, and what fills its picture is no line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from digits.reading.normalize import normalize, normalize_row
from drawn import drawn_digit, likeness

SIDE = 240
few = settings(max_examples=40, deadline=None, derandomize=True)


def lined(
    *, apart: int, level: int, tilt: float, squared: bool, width: int = 2, first: int = 0
) -> Image.Image:
    """A sheet of paper with lines that run through all of it."""
    sheet = Image.new("L", (2 * SIDE, 2 * SIDE), 235)
    pen = ImageDraw.Draw(sheet)
    for at in range(first, 2 * SIDE, apart):
        pen.line([(0, at), (2 * SIDE, at)], fill=level, width=width)
        if squared:
            pen.line([(at, 0), (at, 2 * SIDE)], fill=level, width=width)
    turned = sheet.rotate(tilt, Image.Resampling.BICUBIC, fillcolor=235)
    return turned.crop((SIDE // 2, SIDE // 2, SIDE // 2 + SIDE, SIDE // 2 + SIDE))


def written_on(sheet: Image.Image, digit: Image.Image) -> Image.Image:
    """A digit of dark ink on a sheet."""
    ink = Image.new("L", sheet.size, 255)
    ink.paste(digit, ((SIDE - digit.width) // 2, (SIDE - digit.height) // 2))
    share_HW = 1 - np.asarray(ink, float) / 255
    paper_HW = np.asarray(sheet, float)
    return Image.fromarray((paper_HW * (1 - share_HW) + 40 * share_HW).astype(np.uint8))


@few
@given(
    st.integers(0, 9),
    st.integers(30, 90),
    st.integers(40, 200),
    st.floats(-4, 4),
    st.booleans(),
    st.integers(0, 29),
)
def test_lines_through_a_digit_barely_change_its_frame(
    label: int, apart: int, level: int, tilt: float, squared: bool, first: int
) -> None:
    digit = drawn_digit(label, rng=np.random.default_rng(label), size=180)
    plain = normalize(written_on(Image.new("L", (SIDE, SIDE), 235), digit))
    sheet = lined(apart=apart, level=level, tilt=tilt, squared=squared, first=first)
    assert likeness(normalize(written_on(sheet, digit)), plain) > 0.85


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("tilt", [0.0, 1.0, 3.0])
def test_a_ruled_page_without_a_digit_is_blank(squared: bool, tilt: float) -> None:
    sheet = lined(apart=40, level=140, tilt=tilt, squared=squared)
    assert normalize(sheet).max() == 0


@pytest.mark.parametrize(
    "strokes",
    [
        [[(0, 12), (239, 12), (100, 239)]],  # a 7
        [[(120, 0), (118, 239)]],  # a 1
        [[(60, 0), (10, 150), (239, 150)], [(170, 0), (168, 239)]],  # a 4
    ],
)
@pytest.mark.parametrize("width", [5, 9, 20])
def test_a_stroke_from_edge_to_edge_of_a_picture_stays(
    strokes: list[list[tuple[int, int]]], width: int
) -> None:
    tight = Image.new("L", (SIDE, SIDE), 255)
    wide = Image.new("L", (SIDE + 120, SIDE + 120), 255)
    for stroke in strokes:
        ImageDraw.Draw(tight).line(stroke, fill=0, width=width)
        moved = [(x + 60, y + 60) for x, y in stroke]
        ImageDraw.Draw(wide).line(moved, fill=0, width=width)
    assert likeness(normalize(tight), normalize(wide)) > 0.95


def test_two_digits_on_a_ruled_line_are_still_two() -> None:
    sheet = lined(apart=60, level=150, tilt=1.0, squared=False)
    row = Image.new("L", (SIDE, 120), 255)
    for place, label in ((10, 3), (120, 5)):
        row.paste(drawn_digit(label, rng=np.random.default_rng(1), size=110), (place, 5))
    assert len(normalize_row(written_on(sheet, row)).row) == 2
