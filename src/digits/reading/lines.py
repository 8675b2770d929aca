"""Take away the lines of the ruled or squared paper that a digit is written on.

Shapes: H/W pixels, R/C rows and columns of the small mask, S slopes.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .planes import NDArrayF32, quantile

NDArrayBool = NDArray[np.bool_]

CELLS = 200  # the small mask's longer side, at most
FEWEST_CELLS = 40  # its shorter side: on less, a line is as thick as a stroke
SLOPES = np.linspace(-0.09, 0.09, 19)  # 5 degrees either way
# Share of the image's width that a line passes where it leaves by the top or the bottom.
SHORTEST = 0.2
COVERED = 0.75  # share of its length on which one line at least is seen, from edge to edge
ALSO_COVERED = 0.6  # and those parallel to it
THICKEST = 0.045  # share of the image's side; what is thicker is a stroke or a shadow
ENDS = 4  # cells at each edge, in one of which at least it is seen
FAINTEST = 0.3  # of the ink from which a pixel belongs to a stroke
FAINT = 0.7  # of full ink: a single line that is darker is a stroke


@dataclass(frozen=True)
class Line:
    """A straight line from the left edge to the right, in pixels."""

    middle: float  # y where x is in the middle of the image
    slope: float
    thickness: float

    def band(self, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The first and the last row of it and its blurred edges: (W,) each."""
        y_W = self.middle + self.slope * (np.arange(width) - width / 2)
        half = self.thickness / 2 + 1
        return np.floor(y_W - half).astype(np.intp), np.ceil(y_W + half).astype(np.intp)


def without_lines(ink_HW: NDArrayF32, *, edge: float) -> NDArrayF32:
    """The ink without the lines that run from edge to edge, save where a stroke crosses them.

    `edge` is the ink from which a pixel belongs to a stroke. What is clearly darker than faint
    lines is a stroke wherever it is. A ruled page without a digit is blank.
    """
    rows, columns = _find(ink_HW, edge=edge), _find(ink_HW.T, edge=edge)
    if not rows and not columns:
        return ink_HW
    across_HW, down_HW = _within(rows, ink_HW.shape), _within(columns, ink_HW.T.shape).T
    mask_HW = ink_HW > edge
    # Lines of the one kind are no strokes that cross those of the other.
    gone_HW = across_HW & ~_crossed(rows, mask_HW & ~down_HW)
    gone_HW |= down_HW & ~_crossed(columns, (mask_HW & ~across_HW).T).T
    level = max(_level(rows, ink_HW), _level(columns, ink_HW.T))
    if level < FAINT:
        gone_HW &= ink_HW < (level + 1) / 2
    return np.where(gone_HW, np.float32(0), ink_HW)


def _within(lines: list[Line], shape: tuple[int, ...]) -> NDArrayBool:
    """Which pixels are of a line: (H, W)."""
    height, width = shape
    within_HW = np.zeros(shape, bool)
    y_H1 = np.arange(height)[:, None]
    for line in lines:
        top_W, bottom_W = line.band(width)
        within_HW |= (y_H1 >= top_W) & (y_H1 <= bottom_W)
    return within_HW


def _level(lines: list[Line], ink_HW: NDArrayF32) -> float:
    """How dark the darkest of the lines is, on half of its length."""
    height, width = ink_HW.shape
    levels = [0.0]
    for line in lines:
        top_W, bottom_W = line.band(width)
        y_TW = np.clip(top_W + np.arange((bottom_W - top_W).max() + 1)[:, None], 0, height - 1)
        levels.append(quantile(ink_HW[y_TW, np.arange(width)].max(axis=0), 0.5))
    return max(levels)


def _crossed(lines: list[Line], mask_HW: NDArrayBool) -> NDArrayBool:
    """Which pixels of a line are of a stroke as well, which goes on above it or below: (H, W)."""
    height, width = mask_HW.shape
    crossed_HW = np.zeros(mask_HW.shape, bool)
    y_H1, x_W = np.arange(height)[:, None], np.arange(width)
    for line in lines:
        top_W, bottom_W = line.band(width)
        above_W = (top_W > 0) & mask_HW[np.clip(top_W - 1, 0, height - 1), x_W]
        below_W = (bottom_W < height - 1) & mask_HW[np.clip(bottom_W + 1, 0, height - 1), x_W]
        crossed_HW |= (y_H1 >= top_W) & (y_H1 <= bottom_W) & (above_W | below_W)
    return crossed_HW


def _find(ink_HW: NDArrayF32, *, edge: float) -> list[Line]:
    """The lines from the left edge to the right, all of one slope.

    One alone that is as dark as ink is none: the bar of a 7 that fills its picture.
    """
    factor = -(-max(ink_HW.shape) // CELLS)
    faintest = FAINTEST * edge
    # Most images have none, and it is seen at once: there is no ink at one of the edges.
    if min(end.max() for end in (ink_HW[:, :factor], ink_HW[:, -factor:])) <= faintest:
        return []
    small_HW = np.ascontiguousarray(ink_HW)
    small_RC = np.asarray(Image.fromarray(small_HW).reduce(factor)) if factor > 1 else small_HW
    mask_RC = small_RC > faintest
    num_rows, num_columns = mask_RC.shape
    if min(mask_RC.shape) < FEWEST_CELLS:
        return []
    around_RC = np.zeros((3 * num_rows, num_columns), bool)
    around_RC[num_rows : 2 * num_rows] = mask_RC
    around_RC[num_rows + 1 : 2 * num_rows] |= mask_RC[:-1]  # what lies between two rows is in both
    along_SRC, inside_SRC, first = _along(num_rows, num_columns)
    on_line_SRC = around_RC[along_SRC, np.arange(num_columns)]
    num_inside_SR = inside_SRC.sum(axis=2)
    covered_SR = on_line_SRC.sum(axis=2) / np.maximum(num_inside_SR, SHORTEST * num_columns)
    for end in (slice(ENDS), slice(-ENDS, None)):
        gap_SR = ~on_line_SRC[:, :, end].any(axis=2) & inside_SRC[:, :, end].all(axis=2)
        covered_SR[gap_SR] = 0
    if covered_SR.max() < COVERED:
        return []
    seen_SR = np.where(covered_SR >= ALSO_COVERED, covered_SR, 0)
    best = int(np.square(seen_SR).sum(axis=1).argmax())
    runs = _runs(covered_SR[best] >= ALSO_COVERED)
    if any(bottom - top > 2 + THICKEST * num_rows for top, bottom in runs):
        return []
    slope = float(SLOPES[best])
    lines = [
        Line((first + (top + bottom - 1) / 2) * factor, slope, (bottom - top - 1) * factor)
        for top, bottom in runs
    ]
    return [] if len(lines) == 1 and _level(lines, ink_HW) > FAINT else lines


@lru_cache(4)  # a few megabytes each
def _along(num_rows: int, num_columns: int) -> tuple[NDArray[np.int16], NDArrayBool, int]:
    """The row of each cell of a line, by slope and middle, where as many rows of paper lie around;
    which of them lie on the mask; and the first middle, above the mask for lines that cut a corner.
    """
    columns = np.arange(num_columns) - num_columns / 2
    shift_SC = np.rint(SLOPES[:, None] * columns).astype(np.int16)
    reach = min(int(shift_SC.max()), num_rows - 1)
    middle_R1 = np.arange(num_rows - reach, 2 * num_rows + reach, dtype=np.int16)[:, None]
    along_SRC = np.clip(shift_SC[:, None, :] + middle_R1, 0, 3 * num_rows - 1)
    return along_SRC, (along_SRC >= num_rows) & (along_SRC < 2 * num_rows), -reach


def _runs(mask_R: NDArrayBool) -> list[tuple[int, int]]:
    """Where each run of True begins and ends, the end exclusive."""
    steps = np.flatnonzero(np.diff(np.concatenate([[0], mask_R.astype(np.int8), [0]])))
    return list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))
