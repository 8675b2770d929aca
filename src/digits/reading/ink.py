"""Find the ink of one digit on a plane of grey levels: paper, polarity, strokes.

Shapes: H/W pixels.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .components import Component, bounds, find_components
from .lines import without_lines
from .paper import fitted_paper, without_shadows
from .planes import NDArrayF32, border, median, quantile
from .rows import side_by_side

NDArrayBool = NDArray[np.bool_]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom exclusive

MIN_CONTRAST = 8.0  # grey levels of 255 below which nothing counts as ink
NOISE_SIGMAS = 5.0  # ink stands out of the paper's noise by this many standard deviations
ROUGH_SIGMAS = 12.0  # below this, a coarser plane shows the ink more clearly
PAPER_SIGMAS = 2.0  # what stands out by less is paper
FULL_INK = 0.8  # quantile of the strong pixels from which a pixel is full ink
INK_EDGE = 0.2  # share of full ink from which a pixel belongs to a stroke
MASK_SIDE = 112  # px of the small mask in which connected strokes are found
COARSER_SIDES = (96, 64, 44, 32)  # px of the plane, one after the other, while paper is too rough
REACH = 0.25  # share of the digit's size within which another stroke belongs to it
SHEET_FILL = 0.7  # share of its box that a sheet fills: one with a digit on it, hardly any digit
SHEET_SIDE = 48  # px of the plane; a smaller patch is a thick stroke
EDGE_SHARE = 0.08  # of the border; more ink there than a digit that is cut off leaves
SPECK = 0.02  # share of the main stroke's area below which another one is a speck


@dataclass(frozen=True)
class Ink:
    """ink_HW in 0..1 and the box around it, or the reason why there is none.

    ink_HW is the part of the plane around the strokes; its first pixel lies at `corner` (x, y).
    """

    reason: Literal["blank"] | None
    ink_HW: NDArrayF32
    box: Box  # in ink_HW
    corner: tuple[int, int]
    contrast: float  # grey levels between paper and full ink
    edge_share: float  # how much of the image's border was ink before other strokes were dropped
    grain: float  # pixels of the plane to a pixel of the ink
    even: bool = False  # the paper is of one grey level, as on any canvas
    row: tuple["Ink", ...] = ()  # what looks like digits side by side, from left to right, each
    together: "Ink | None" = None  # and all of them as if they were one


def find_ink(plane_HW: NDArrayF32) -> Ink:
    """Subtract the paper, decide the polarity, keep one digit's strokes.

    `plane_HW` is in 0..255, dark on light or light on dark; the ink may be of a coarser size.
    """
    found = _strokes(plane_HW)
    if found.reason is not None:
        return found
    # A large filled rectangle is a sheet on a table or a canvas in a frame: look for ink on it.
    left, top, right, bottom = found.box
    filled = float((found.ink_HW[top:bottom, left:right] > INK_EDGE).mean())
    x, y = found.corner
    edges = (y + top, y + bottom, x + left, x + right)
    y0, y1, x0, x1 = (round(edge * found.grain) for edge in edges)
    margin = 1 + round(0.03 * min(y1 - y0, x1 - x0))
    sheet_HW = plane_HW[y0 + margin : y1 - margin, x0 + margin : x1 - margin]
    if filled < SHEET_FILL or min(sheet_HW.shape) < SHEET_SIDE:
        return found
    inner = _strokes(sheet_HW)
    ink_on_it = inner.reason is None and inner.contrast > 0.3 * found.contrast
    return inner if ink_on_it and inner.edge_share < EDGE_SHARE else found


def _strokes(plane_HW: NDArrayF32) -> Ink:
    paper_HW = fitted_paper(plane_HW)
    above_HW = plane_HW - paper_HW
    even = paper_HW.size == 1
    if not even:
        # Light falls on ink and paper alike: where it is half, so is the step between them.
        middle = median(paper_HW)
        above_HW *= middle / np.maximum(paper_HW, max(1.0, 0.3 * middle))
    found = _separate(above_HW, even=even)
    if found.edge_share < EDGE_SHARE or (even and min(plane_HW.shape) < SHEET_SIDE):
        return replace(found, even=even)
    # Nothing, or ink along the edge: the shadow of a hand has edges that no smooth surface has.
    small_HW = without_shadows(above_HW)
    levelled = _separate(small_HW)
    shrunk = above_HW.shape[0] / small_HW.shape[0]
    levelled = replace(levelled, grain=levelled.grain * shrunk)
    return levelled if levelled.edge_share < found.edge_share else found


def _separate(above_HW: NDArrayF32, *, even: bool = False) -> Ink:
    """Polarity, threshold and strokes of a plane whose paper is at 0, or its `even` border."""
    plane_height = above_HW.shape[0]
    ink_HW, noise, peak = _upwards(above_HW, even=even)
    for side in COARSER_SIDES:
        shrink = side / max(above_HW.shape)
        if peak >= max(MIN_CONTRAST, ROUGH_SIGMAS * noise) or noise == 0:
            break
        if shrink < 1:
            # Cloth, halftone, film grain: only as coarse as the ink needs to stand out.
            height, width = (max(1, round(n * shrink)) for n in above_HW.shape)
            coarse = Image.fromarray(above_HW).resize((width, height), Image.Resampling.BILINEAR)
            above_HW = np.asarray(coarse)
            ink_HW, noise, peak = _upwards(above_HW, even=even)
    grain = plane_height / ink_HW.shape[0]
    blank = Ink("blank", ink_HW, (0, 0, 0, 0), (0, 0), peak, 1.0, grain)
    if peak < max(MIN_CONTRAST, NOISE_SIGMAS * noise):
        return blank
    full = quantile(ink_HW[ink_HW > peak / 2], FULL_INK)
    ink_HW = np.clip((ink_HW - PAPER_SIGMAS * noise) / (full - PAPER_SIGMAS * noise), 0, 1)
    ink_HW = without_lines(ink_HW, edge=INK_EDGE)
    edge_share = float((border(ink_HW) > INK_EDGE).mean())
    factor = -(-max(ink_HW.shape) // MASK_SIDE)  # px of a cell of the small mask
    components, labels_HW = find_components(_small_mask(ink_HW, factor))
    if not components:
        return blank

    def strokes(parts: list[Component]) -> Ink:
        left, top, right, bottom = bounds(parts)
        left, top, right, bottom = max(0, left - 1), max(0, top - 1), right + 1, bottom + 1
        kept_HW = ink_HW[top * factor : bottom * factor, left * factor : right * factor]
        if len(parts) < len(components):
            wanted = np.zeros(len(components) + 1, bool)
            wanted[[part.label for part in parts]] = True
            wanted_HW = wanted[labels_HW[top:bottom, left:right]]
            kept_HW = kept_HW * _spread(wanted_HW, factor, kept_HW.shape)
        mask_HW = kept_HW > INK_EDGE
        rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
        if not len(rows):
            return blank
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        return Ink(None, kept_HW, box, (left * factor, top * factor), full, edge_share, grain)

    main = _digit(components, labels_HW.shape)
    found = strokes(main)
    specks = SPECK * max(part.area for part in components)
    groups = side_by_side([part for part in components if part.area >= specks])
    if not groups or found.reason is not None:
        return found
    row = tuple(found if set(group) == set(main) else strokes(group) for group in groups)
    return replace(found, row=row, together=strokes([part for group in groups for part in group]))


def _upwards(above_HW: NDArrayF32, *, even: bool) -> tuple[NDArrayF32, float, float]:
    """Ink positive and all else 0, the standard deviation of the paper's noise, the ink's peak."""
    step = max(1, min(above_HW.shape) // 96)
    sample = above_HW[::step, ::step]
    # A low quantile, since ink or a sheet on a table may cover half of the image; 0.385 is where it
    # lies for a normal distribution of standard deviation 1.
    noise = quantile(np.abs(sample), 0.3) / 0.385
    if even and NOISE_SIGMAS * noise > 255:
        # No noise is so strong: the even border is a frame around the paper. The frame's own noise
        # is less, or that of the paper, which is what most pixels are.
        within = quantile(np.abs(sample - median(sample)), 0.3) / 0.385
        noise = min(within, quantile(np.abs(sample), 0.1) / 0.126)
    floor = max(MIN_CONTRAST, NOISE_SIGMAS * noise) / 2
    # Squared, so that a small dark digit outweighs a wide faint gleam.
    light = float(np.square(np.maximum(sample - floor, 0)).sum())
    dark = float(np.square(np.maximum(-sample - floor, 0)).sum())
    ink_HW = np.maximum(above_HW if light > dark else -above_HW, 0)
    strong = ink_HW[ink_HW > floor]
    strays = ink_HW.size // 2000  # pixels that may be darker than any ink: dust, dead pixels
    if len(strong) <= strays:
        return ink_HW, noise, 0.0
    rank = len(strong) - 1 - strays
    return ink_HW, noise, float(np.partition(strong, rank)[rank])


def _small_mask(ink_HW: NDArrayF32, factor: int) -> NDArrayBool:
    small = np.asarray(Image.fromarray(ink_HW).reduce(factor)) if factor > 1 else ink_HW
    # A stroke thinner than a cell fills only part of it.
    mask_HW: NDArrayBool = small > INK_EDGE / factor
    return mask_HW


def _spread(kept_HW: NDArrayBool, factor: int, shape: tuple[int, ...]) -> NDArrayBool:
    """The kept cells of the small mask and their neighbours, at the size of the ink."""
    padded = np.zeros((kept_HW.shape[0] + 2, kept_HW.shape[1] + 2), bool)
    padded[1:-1, 1:-1] = kept_HW
    wide = padded[:-2] | padded[1:-1] | padded[2:]
    wide = wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]
    return wide.repeat(factor, axis=0).repeat(factor, axis=1)[: shape[0], : shape[1]]


def _digit(components: list[Component], shape: tuple[int, ...]) -> list[Component]:
    """One digit's strokes: the main one and what is near it and no speck."""
    height, width = shape

    def weight(part: Component) -> float:
        off_centre = float(np.hypot(part.x / width - 0.5, part.y / height - 0.5))
        # What the edge cuts off is more often a cell's line or a neighbour than the digit.
        return part.area * (0.5 if part.touches else 1.0) * (1 - off_centre)

    main = max(components, key=weight)
    kept = [main]
    left, top, right, bottom = bounds(kept)
    waiting = [
        part
        for part in components
        if part is not main
        and part.area >= SPECK * main.area
        and not (part.touches and not main.touches and _hugs_edge(part, shape))
    ]
    while True:  # a broken digit grows from piece to piece
        reach = REACH * max(right - left, bottom - top) + 1
        near = [
            part
            for part in waiting
            if part.left < right + reach
            and part.right > left - reach
            and part.top < bottom + reach
            and part.bottom > top - reach
        ]
        if not near:
            return kept
        kept += near
        taken = {part.label for part in near}
        waiting = [part for part in waiting if part.label not in taken]
        left, top, right, bottom = bounds(kept)


def _hugs_edge(part: Component, shape: tuple[int, ...]) -> bool:
    """Whether the middle of a part lies in the outer sixth of the image."""
    height, width = shape
    return min(part.x / width, 1 - part.x / width, part.y / height, 1 - part.y / height) < 1 / 6
