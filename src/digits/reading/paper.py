"""Estimate the paper under the ink, so that uneven light and shadows can be taken away.

Shapes: H/W pixels.
"""

import numpy as np
from PIL import Image

from .planes import NDArrayF32, border, median

FIT_SIDE = 32  # px of the small copy on which the paper is fitted
SHADOW_SIDE = 128  # px of the copy on which shadows are found
STROKE_SHARE = 1 / 6  # of the image: wider than any stroke
LIGHT_INK = 4.0  # times the energy of dark ink, from which ink under a shadow is light


def fitted_paper(plane_HW: NDArrayF32) -> NDArrayF32:
    """The paper's grey levels as a smooth surface that no stroke can bend: (H, W) or (1, 1).

    A quadratic is fitted again and again to the pixels near it, from the border's median on.
    """
    height, width = plane_HW.shape
    shape = (min(width, FIT_SIDE), min(height, FIT_SIDE))
    small_HW = np.asarray(Image.fromarray(plane_HW).resize(shape, Image.Resampling.BOX))
    edge = border(small_HW)
    level = median(edge)
    spread = 1.4826 * median(np.abs(edge - level))
    if spread < 1:  # even paper, as on any canvas: nothing to fit
        return np.full((1, 1), median(border(plane_HW)), dtype=np.float32)
    y_H3, x_W3 = _powers(small_HW.shape[0]), _powers(small_HW.shape[1])
    fit_HW = np.full_like(small_HW, level)
    surface_33 = np.zeros((3, 3), np.float32)
    for degree in (1, 1, 2, 2, 2):
        near_HW = np.abs(small_HW - fit_HW) <= max(4.0, 2.5 * spread)
        terms = [(i, j) for i in range(3) for j in range(3) if i + j <= degree]
        basis = np.stack([y_H3[:, i, None] * x_W3[None, :, j] for i, j in terms], axis=-1)[near_HW]
        # Mild ridge: where ink hides the paper the surface stays level instead of running away.
        ridge = 0.001 * len(basis) * np.diag([float(i + j) for i, j in terms]) + 1e-3 * np.eye(
            len(terms)
        )
        heights = np.linalg.solve(basis.T @ basis + ridge, basis.T @ (small_HW[near_HW] - level))
        surface_33[:] = 0
        for (i, j), value in zip(terms, heights, strict=True):
            surface_33[i, j] = value
        surface_33[0, 0] += level
        fit_HW = y_H3 @ surface_33 @ x_W3.T
        off_N = np.abs(small_HW - fit_HW)[near_HW]
        spread = 1.4826 * median(off_N) if len(off_N) else spread
    return (_powers(height) @ surface_33 @ _powers(width).T).astype(np.float32)


def _powers(n: int) -> NDArrayF32:
    """1, x and x² for n pixel middles between -1 and 1: (n, 3)."""
    x = (np.arange(n, dtype=np.float32) + 0.5) * (2 / n) - 1
    return np.stack([np.ones_like(x), x, x**2], axis=1)


def without_shadows(plane_HW: NDArrayF32) -> NDArrayF32:
    """The plane with its paper at 0 even where shadows end sharply.

    At most SHADOW_SIDE long. Grey-level closing (for dark ink) and opening (for light ink) with a
    square wider than a stroke: strokes are filled with what surrounds them, and the straight edge
    of a shadow stays where it is.
    """
    shrink = min(1.0, SHADOW_SIDE / max(plane_HW.shape))
    height, width = (max(1, round(n * shrink)) for n in plane_HW.shape)
    small = Image.fromarray(plane_HW).resize((width, height), Image.Resampling.BILINEAR)
    small_HW = np.asarray(small)
    reach = max(1, round(STROKE_SHARE * max(small_HW.shape) / 2))
    closed_HW = _extreme(_extreme(small_HW, reach, np.maximum), reach, np.minimum)
    opened_HW = _extreme(_extreme(small_HW, reach, np.minimum), reach, np.maximum)
    dark_HW, light_HW = small_HW - closed_HW, small_HW - opened_HW
    # Grain pulls a closing up and an opening down.
    dark_HW -= median(dark_HW)
    light_HW -= median(light_HW)
    # Sharp shadows lie on paper rather than on a blackboard, and a 0 whose loop counts as light ink
    # has more of that than of its own: light ink has to be clearly more.
    dark, light = float(np.square(dark_HW).sum()), float(np.square(light_HW).sum())
    return light_HW if light > LIGHT_INK * dark else dark_HW


def _extreme(plane_HW: NDArrayF32, reach: int, extreme: np.ufunc) -> NDArrayF32:
    """The largest or smallest value up to `reach` pixels away along each axis."""
    for axis in (0, 1):
        pads = [(reach, reach) if i == axis else (0, 0) for i in range(2)]
        window, length = np.pad(plane_HW, pads, mode="edge"), 1
        while length < 2 * reach + 1:  # doubling what each pixel has seen
            step = min(length, 2 * reach + 1 - length)
            here = np.split(window, [-step], axis=axis)[0]
            ahead = np.split(window, [step], axis=axis)[1]
            window, length = np.asarray(extreme(here, ahead)), length + step
        plane_HW = window
    return plane_HW
