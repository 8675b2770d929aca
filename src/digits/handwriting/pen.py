"""A pen that draws strokes: smooth or angular, steady or not, thin or thick.

Shapes: P points, H/W pixels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from digits.handwriting.templates import DIGITS, Glyph, Stroke

SIDE = 112  # px of the sheet
HEIGHT = 80  # px of what is drawn on it
FINE = 2  # drawn this many times as large, for smooth edges
POINTS_BETWEEN = 6  # of the curve, from one point of a stroke to the next
MIN_WIDTH, MAX_WIDTH = 3.0, 18.0  # px of the pen

Points = NDArray[np.float64]


def any_glyph(rng: Generator, digits: Sequence[int] = range(10)) -> Glyph:
    """One of the ways to write one of some digits."""
    ways = DIGITS[int(rng.choice(digits))]
    return ways[rng.integers(len(ways))]


def draw_digit(digit: int, rng: Generator) -> Image.Image:
    """A digit as somebody might write it: see `draw`."""
    return draw(any_glyph(rng, [digit]), rng)


def draw(glyph: Glyph, rng: Generator) -> Image.Image:
    """A glyph as somebody might write it: light ink on black, mode L, SIDE x SIDE pixels."""
    wobble = rng.uniform(0.01, 0.06)  # of the box, each point by itself
    smooth = rng.random() < 0.85
    strokes = [_curve(_jittered(stroke, wobble, rng), smooth=smooth) for stroke in glyph]
    strokes = _posed(strokes, rng)
    # Evenly in its logarithm: thin pens are as common as thick ones.
    width = float(np.exp(rng.uniform(np.log(MIN_WIDTH), np.log(MAX_WIDTH))))
    return _inked(strokes, width, pressure=rng.uniform(0, 0.3), rng=rng)


def _jittered(stroke: Stroke, wobble: float, rng: Generator) -> Points:
    points_P2 = np.array(stroke, dtype=float)
    moves_P2 = rng.normal(0, wobble, points_P2.shape)
    # A corner is one point: both of its copies move alike.
    twice_P = np.append(False, (points_P2[1:] == points_P2[:-1]).all(axis=1))
    moves_P2[twice_P] = moves_P2[np.flatnonzero(twice_P) - 1]
    # Where a stroke begins and ends is what people are least careful about.
    moves_P2[[0, -1]] *= 1.5
    return points_P2 + moves_P2


def _curve(points_P2: Points, *, smooth: bool) -> Points:
    """Points along the curve through some points (Catmull, Rom 1974), or straight lines."""
    if not smooth or len(points_P2) < 3:
        return points_P2
    before, start = np.vstack((points_P2[:1], points_P2[:-2])), points_P2[:-1]
    stop, after = points_P2[1:], np.vstack((points_P2[2:], points_P2[-1:]))
    t = (np.arange(POINTS_BETWEEN) / POINTS_BETWEEN)[:, None, None]
    curve_TP2 = 0.5 * (
        2 * start
        + (stop - before) * t
        + (2 * before - 5 * start + 4 * stop - after) * t**2
        + (3 * start - before - 3 * stop + after) * t**3
    )
    return np.vstack((curve_TP2.transpose(1, 0, 2).reshape(-1, 2), points_P2[-1:]))


def _posed(strokes: list[Points], rng: Generator) -> list[Points]:
    """The strokes in pixels: wide or narrow, slanted, turned, in the middle of the sheet."""
    angle = np.deg2rad(rng.normal(0, 6))
    width = rng.uniform(0.6, 1.1)  # of the height
    slant = rng.normal(0.08, 0.18)  # to the right, as most people write
    pose = np.array([[width, -slant], [0, 1]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    placed = [(points_P2 - 0.5) @ (turn @ pose).T for points_P2 in strokes]
    every_P2 = np.vstack(placed)
    low, high = every_P2.min(axis=0), every_P2.max(axis=0)
    scale = HEIGHT / max(high - low)
    return [(points_P2 - (low + high) / 2) * scale + SIDE / 2 for points_P2 in placed]


def _inked(strokes: list[Points], width: float, *, pressure: float, rng: Generator) -> Image.Image:
    """Strokes in pixels drawn by a round pen whose width follows the pressure."""
    sheet = Image.new("L", (SIDE * FINE, SIDE * FINE))
    pen = ImageDraw.Draw(sheet)
    for points_P2 in strokes:
        path = points_P2 * FINE
        waves = np.sin(np.linspace(0, rng.uniform(2, 8), len(path)) + rng.uniform(0, 2 * np.pi))
        widths = np.maximum(width * FINE * (1 + pressure * waves), 1)
        for (x, y), wide in zip(path, widths, strict=True):
            pen.ellipse((x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2), fill=255)
        for start, stop, wide in zip(path[:-1], path[1:], widths[1:], strict=True):
            pen.line((*start, *stop), fill=255, width=round(wide))
    return sheet.reduce(FINE)
