"""Corruptions that move the ink, about the middle of the frame.

Shapes: N images, H/W pixels.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator
from scipy import ndimage

from .ink import NDArrayU8, frames, ink, unit

# Takes (y, x) from the middle of the result to (y, x) from the middle of the original.
Map = tuple[tuple[float, float], tuple[float, float]]

SIDES = (-1, 1)  # drawn for each image


def shear(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """Uprights tipped to either side by 0.39 pixels a pixel, and the digit a twelfth taller."""
    # The published sets shear by tipping an axis by 0.4 radians and keeping its length.
    sin, cos = math.sin(0.4), math.cos(0.4)
    return _warped(frames_NHW, [((cos, 0), (side * sin, 1)) for side in SIDES], rng)


def scale(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """Shrunk to 70 %."""
    return _warped(frames_NHW, [((1 / 0.7, 0), (0, 1 / 0.7))], rng)


def rotate(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """Turned to either side by 0.4 radians, 23 degrees."""
    sin, cos = math.sin(0.4), math.cos(0.4)
    return _warped(frames_NHW, [((cos, side * sin), (-side * sin, cos)) for side in SIDES], rng)


def translate(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """Moved by 3 pixels along both axes, towards any of the four corners."""
    num, size, _ = frames_NHW.shape
    move = round(3 * unit(frames_NHW))
    padded_NHW = np.pad(frames_NHW, ((0, 0), (move, move), (move, move)))
    windows = sliding_window_view(padded_NHW, (size, size), axis=(1, 2))
    y_N, x_N = 2 * move * rng.integers(0, 2, (2, num))
    moved_NHW: NDArrayU8 = windows[np.arange(num), y_N, x_N]
    return moved_NHW


def _warped(frames_NHW: NDArrayU8, maps: list[Map], rng: Generator) -> NDArrayU8:
    """Each image through one of the maps, drawn evenly; paper comes in from outside."""
    ink_NHW = ink(frames_NHW)
    middle = (frames_NHW.shape[1] - 1) / 2
    centre = np.array([0, middle, middle])
    drawn_N = rng.integers(0, len(maps), len(frames_NHW))
    for k, rows in enumerate(maps):
        matrix = np.eye(3)  # along the first axis, the images, everything stays
        matrix[1:, 1:] = rows
        ink_NHW[drawn_N == k] = ndimage.affine_transform(
            ink_NHW[drawn_N == k], matrix, centre - matrix @ centre, order=1, mode="grid-constant"
        )
    return frames(ink_NHW)
