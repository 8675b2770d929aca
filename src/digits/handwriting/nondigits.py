"""What is no digit: scribbles, invented signs, letters, several digits at once, parts of them.

Each kind is a function of a random generator that gives a sheet as the pen does.
Outlier exposure: D. Hendrycks, M. Mazeika and T. Dietterich 2019 (arXiv 1812.04606).
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageChops, ImageDraw, ImageFont

from digits.handwriting.pen import FINE, HEIGHT, SIDE, any_glyph, draw, draw_digit
from digits.handwriting.templates import SIGNS, Glyph, Stroke

# Letters and signs that nobody takes for a digit, in print or by hand.
LETTERS = (
    "ABCDEFGHJKLMNPRTUVWXYacdefhkmnprtuvwxy"
    "ΓΔΘΞΠΣΦΨΩαγεζηθκμνξπρτφχψω"
    "ДЖИЙКПФЦШЩЫЭЮЯвгджийклмнптфцшщъыюя"
    "@#$%&*+=?!<>{}[]~"
)
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral"),
)


def scribble(rng: Generator) -> Image.Image:
    """One or two strokes through random points."""
    glyph = [
        [_anywhere(rng) for _ in range(rng.integers(5, 10))] for _ in range(rng.integers(1, 3))
    ]
    return draw(glyph, rng)


def invented_sign(rng: Generator) -> Image.Image:
    """Lines, arcs and rings put together as the letters of some unknown script."""
    parts = (_line, _line, _bent_line, _bent_line, _arc, _ring)
    glyph = [parts[rng.integers(len(parts))](rng) for _ in range(rng.integers(2, 5))]
    return draw(glyph, rng)


def printed_letter(rng: Generator) -> Image.Image:
    """A printed letter or sign, full, in outline or fading, slanted and turned a little."""
    from matplotlib import get_data_path

    character = LETTERS[rng.integers(len(LETTERS))]
    font = _font(Path(get_data_path()) / "fonts" / "ttf" / f"{FONTS[rng.integers(len(FONTS))]}.ttf")
    sheet = Image.new("L", (SIDE * FINE, SIDE * FINE))
    middle = SIDE * FINE / 2
    outlined = rng.random() < 0.3
    ImageDraw.Draw(sheet).text(
        (middle, middle),
        character,
        fill=0 if outlined else 255,
        stroke_width=int(rng.integers(2, 8)) if outlined else 0,
        stroke_fill=255,
        font=font,
        anchor="mm",
    )
    if rng.random() < 0.2:
        fade = Image.linear_gradient("L").rotate(float(rng.uniform(0, 360))).resize(sheet.size)
        sheet = ImageChops.multiply(sheet, fade)
    slant, turn = rng.normal(0, 0.15), rng.normal(0, 5)
    # A point's place on the printed sheet, from its place on the slanted one.
    sheared = sheet.transform(
        sheet.size, Image.Transform.AFFINE, (1, slant, -slant * middle, 0, 1, 0)
    )
    return sheared.rotate(turn, Image.Resampling.BILINEAR).reduce(FINE)


def written_letter(rng: Generator) -> Image.Image:
    """A letter or sign written by hand."""
    return draw(SIGNS[rng.integers(len(SIGNS))], rng)


def digits_in_a_row(rng: Generator) -> Image.Image:
    """Two or three digits that touch, so that no gap tells them apart."""
    glyph: Glyph = []
    for place in range(rng.integers(2, 4)):
        step = place * rng.uniform(0.75, 1.0)
        glyph += [[(x + step, y) for x, y in stroke] for stroke in any_glyph(rng)]
    return draw(glyph, rng)


def digits_overlaid(rng: Generator) -> Image.Image:
    """Two digits on top of each other, one of them lying on its side."""
    # Not a 1: on its side it is the bar of a crossed 7.
    lying = [[(y, x) for x, y in stroke] for stroke in any_glyph(rng, range(2, 10))]
    return draw(any_glyph(rng) + lying, rng)


def halves_of_digits(rng: Generator) -> Image.Image:
    """The upper half of one digit above the lower half of another."""
    upper, lower = rng.choice(10, 2, replace=False)
    top, bottom = (draw_digit(int(digit), rng) for digit in (upper, lower))
    top.paste(bottom.crop((0, SIDE // 2, SIDE, SIDE)), (0, SIDE // 2))
    return top


KINDS: dict[Callable[[Generator], Image.Image], float] = {  # and how common each is
    scribble: 0.15,
    invented_sign: 0.2,
    printed_letter: 0.25,
    written_letter: 0.2,
    digits_in_a_row: 0.1,
    digits_overlaid: 0.05,
    halves_of_digits: 0.05,
}


def draw_nondigit(rng: Generator) -> Image.Image:
    """Any of them: light on black, mode L, SIDE x SIDE pixels."""
    kinds = list(KINDS)
    return kinds[rng.choice(len(kinds), p=list(KINDS.values()))](rng)


@lru_cache
def _font(path: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, HEIGHT * FINE)


def _anywhere(rng: Generator) -> tuple[float, float]:
    x, y = rng.random(2)
    return float(x), float(y)


def _line(rng: Generator) -> Stroke:
    """Upright, level or leaning: between points of a grid, as letters have them."""
    start, stop = rng.choice(9, 2, replace=False)
    return [(start % 3 / 2, start // 3 / 2), (stop % 3 / 2, stop // 3 / 2)]


def _bent_line(rng: Generator) -> Stroke:
    start, corner, stop = rng.choice(9, 3, replace=False)
    return [(place % 3 / 2, place // 3 / 2) for place in (start, corner, corner, stop)]


def _arc(rng: Generator) -> Stroke:
    return _circle(rng, rng.uniform(0.5, 1.2) * np.pi)


def _ring(rng: Generator) -> Stroke:
    return _circle(rng, 2 * np.pi)


def _circle(rng: Generator, length: float) -> Stroke:
    """So many radians of a circle."""
    x, y = rng.choice((0.25, 0.5, 0.75), 2)
    radius, start = rng.uniform(0.2, 0.35), rng.uniform(0, 2 * np.pi)
    return [
        (float(x + radius * np.cos(angle)), float(y + radius * np.sin(angle)))
        for angle in np.linspace(start, start + length, 7)
    ]
