"""Corruptions of the strokes: more of them, or nothing but their outlines.

Shapes: N images, H/W pixels.
"""

import itertools
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from .ink import NDArrayF32, NDArrayU8, frames, ink, unit

NDArrayB = NDArray[np.bool_]
Places = NDArray[np.floating[Any]]

PEN = 2.3  # pixels from a stroke's middle at which its ink, falling as a logarithm, would end
# The zigzag before it is laid into the frame, pixels: along its axis, and off it.
ZIGZAG_ALONG = (0, 2, 6, 10, 14, 18, 22)  # and to the right end, how far depends on the tilt
ZIGZAG_OFF = (0, 2, -2, 2, -2, 2, -2, -0.3)
ZIGZAG_START, ZIGZAG_WIDTH = 2, 23
# Edges of ink in 0..1 smoothed by a Gaussian of one pixel, steepness by Sobel's mask (0..4).
WEAK_EDGE, STRONG_EDGE = 0.1, 0.2
SOBEL_1HW = np.array([[(-1, -2, -1), (0, 0, 0), (1, 2, 1)]], np.float32)


def dotted_line(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """A line from side to side, from any height to any height, two columns on and two off."""
    num, size, _ = frames_NHW.shape
    start_N, end_N = rng.integers(0, size - 1, (2, num)).astype(np.float32)
    line_NHW = _line(np.zeros(num), start_N, np.full(num, size - 1.0), end_N, size=size)
    dot = max(1, round(2 * unit(frames_NHW)))
    line_NHW[:, :, np.arange(size) // dot % 2 == 0] = 0
    return frames(ink(frames_NHW) + line_NHW)


def zigzag(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """A zigzag from side to side at any height, which rises or falls by at most 5 pixels."""
    num, size, _ = frames_NHW.shape
    pixel = unit(frames_NHW)
    start_N = rng.integers(0, size - 1, num)
    tilt_N = np.arctan2(rng.integers(-5, 5, num), ZIGZAG_WIDTH)
    cos_N, sin_N = np.cos(tilt_N), np.sin(tilt_N)
    corners = []
    for along, off in zip((*ZIGZAG_ALONG, ZIGZAG_WIDTH / cos_N), ZIGZAG_OFF, strict=True):
        x_N = pixel * (ZIGZAG_START + along * cos_N - off * sin_N)
        y_N = pixel * (along * sin_N + off * cos_N) + start_N
        corners.append((x_N, y_N))
    out_NHW = ink(frames_NHW)
    for start, end in itertools.pairwise(corners):
        out_NHW += _line(*start, *end, size=size)
    return frames(out_NHW)


def canny_edges(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """Nothing but the outlines, a pixel wide: bytes 0 and 255 alone.

    J. Canny 1986, "A Computational Approach to Edge Detection": smoothed, steepest across the
    edge, and weak edges kept where they join a strong one.
    """
    pixel = unit(frames_NHW)
    sigma = (0, pixel, pixel)
    smooth_NHW = ndimage.gaussian_filter(ink(frames_NHW), sigma, mode="constant")
    # What the smoothing loses over the rim of the frame is given back.
    smooth_NHW /= ndimage.gaussian_filter(np.ones_like(smooth_NHW[:1]), sigma, mode="constant")
    # Not `ndimage.sobel`, which would mix neighbouring images.
    down_NHW = ndimage.correlate(smooth_NHW, pixel * SOBEL_1HW)
    right_NHW = ndimage.correlate(smooth_NHW, pixel * SOBEL_1HW.transpose(0, 2, 1))
    steep_NHW = np.hypot(down_NHW, right_NHW)
    ridge_NHW = _ridge(steep_NHW, down_NHW, right_NHW)
    weak_NHW, strong_NHW = ((steep_NHW >= bound) & ridge_NHW for bound in (WEAK_EDGE, STRONG_EDGE))
    touching = np.zeros((3, 3, 3), bool)
    touching[1] = True  # within an image, corners too
    edge_NHW, num_edges = ndimage.label(weak_NHW, touching)
    kept = np.zeros(num_edges + 1, bool)
    kept[edge_NHW[strong_NHW]] = True
    return np.where(kept[edge_NHW], np.uint8(255), np.uint8(0))


def _line(x0_N: Places, y0_N: Places, x1_N: Places, y1_N: Places, *, size: int) -> NDArrayF32:
    """Soft lines from x0 to x1 > x0, of one thickness measured up and down: (N, size, size)."""
    x_W = y_H = np.arange(size, dtype=np.float32)
    slope_N = (y1_N - y0_N) / (x1_N - x0_N)
    middle_NW = (slope_N[:, None] * (x_W - x0_N[:, None]) + y0_N[:, None]).astype(np.float32)
    pen = PEN * size / 28
    off_NHW = np.abs(y_H[:, None] - middle_NW[:, None, :])
    with np.errstate(divide="ignore"):  # beyond the pen's reach the logarithm is minus infinity
        line_NHW: NDArrayF32 = np.maximum(1 + np.log1p(-np.minimum(off_NHW / pen, 1)), 0)
    inside_NW = (x_W >= np.floor(x0_N)[:, None]) & (x_W < np.ceil(x1_N)[:, None])
    line_NHW *= inside_NW[:, None, :]
    return line_NHW


def _ridge(steep_NHW: NDArrayF32, down_NHW: NDArrayF32, right_NHW: NDArrayF32) -> NDArrayB:
    """Where it is nowhere steeper one pixel up and down the slope; never on the frame's rim."""
    size = steep_NHW.shape[1]
    padded_NHW = np.pad(steep_NHW, ((0, 0), (1, 1), (1, 1)))

    def seen_from(dy: int, dx: int) -> NDArrayF32:
        return padded_NHW[:, 1 + dy : 1 + dy + size, 1 + dx : 1 + dx + size]

    upright_NHW = np.abs(down_NHW) >= np.abs(right_NHW)
    falling_NHW = down_NHW * right_NHW >= 0  # the slope runs along y = x
    least_NHW, most_NHW = np.sort(np.abs([down_NHW, right_NHW]), axis=0)
    # A pixel away along the slope lies between a side neighbour and a corner one.
    corner_NHW = least_NHW / np.maximum(most_NHW, np.finfo(np.float32).tiny)
    ridge_NHW = np.zeros(steep_NHW.shape, bool)
    for upright, (dy, dx) in ((True, (1, 0)), (False, (0, 1))):
        for falling, (cy, cx) in ((True, (1, 1)), (False, (dy - dx, dx - dy))):
            case_NHW = (upright_NHW == upright) & (falling_NHW == falling)
            for way in (1, -1):
                side, corner = seen_from(way * dy, way * dx), seen_from(way * cy, way * cx)
                case_NHW &= steep_NHW >= side + (corner - side) * corner_NHW
            ridge_NHW |= case_NHW
    ridge_NHW[:, [0, -1]] = False
    ridge_NHW[:, :, [0, -1]] = False
    return ridge_NHW
