"""Corruptions of each pixel's grey where it is: noise, light and weather.

Shapes: N images, H/W pixels.
"""

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from .ink import NDArrayF32, NDArrayU8, frames, ink, unit

FOG_MAP_SIDE = 256 / 28  # frames along a side of the map that a cloud is cut from
FOG_COARSE = 64  # cells a side at which the whole map is made


def shot_noise(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """Light so dim that full ink is three photons, and their number itself is noise."""
    photons = 3
    return frames(rng.poisson(ink(frames_NHW) * photons) / photons)


def impulse_noise(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """Salt and pepper: 17 % of the pixels, half of them to ink and half to paper."""
    share = 0.17
    chance_NHW = rng.random(frames_NHW.shape, np.float32)
    salted_NHW = np.where(chance_NHW < share / 2, np.uint8(255), frames_NHW)
    return np.where(chance_NHW >= 1 - share / 2, np.uint8(0), salted_NHW)


def brightness(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """Half of full ink added everywhere: the paper turns grey and soft edges become ink."""
    return frames(ink(frames_NHW) + 0.5)


def stripe(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """The left and the right quarter inverted."""
    quarter = frames_NHW.shape[2] // 4
    out_NHW = frames_NHW.copy()
    out_NHW[:, :, :quarter] ^= 255
    out_NHW[:, :, -quarter:] ^= 255
    return out_NHW


def fog(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """A cloud up to three times as strong as ink, added and all brought back to ink's range."""
    density = 3
    out_NHW = np.empty_like(frames_NHW)
    for start in range(0, len(frames_NHW), 500):  # few enough that their maps stay in the cache
        part = slice(start, start + 500)
        ink_NHW = ink(frames_NHW[part])
        most_N11 = ink_NHW.max(axis=(1, 2), keepdims=True)
        num, size, _ = ink_NHW.shape
        foggy_NHW = ink_NHW + density * _clouds(num, size, rng)
        out_NHW[part] = frames(foggy_NHW * most_N11 / (most_N11 + density))
    return out_NHW


def spatter(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """Splashes of a thin grey that hide the ink below."""
    pixel = unit(frames_NHW)
    liquid_NHW = rng.standard_normal(frames_NHW.shape, np.float32)
    liquid_NHW = ndimage.gaussian_filter(liquid_NHW, (0, pixel, pixel), mode="nearest")
    # Half of the frame is wet; a splash is the heart of a wet place.
    wet_NHW = (liquid_NHW > 0).astype(np.float32)
    cover_NHW = ndimage.gaussian_filter(wet_NHW, (0, 1.5 * pixel, 1.5 * pixel), mode="nearest")
    cover_NHW[cover_NHW < 0.8] = 0
    return frames(ink(frames_NHW) * (1 - cover_NHW) + cover_NHW * (63 / 255))


def _clouds(num: int, size: int, rng: Generator) -> NDArrayF32:
    """Corners of fractal maps that lie in 0..1: (num, size, size).

    Midpoint displacement (A. Fournier, D. Fussell and L. Carpenter 1982) on a torus. Only the
    corner is refined down to pixels: a tenth of the work, and what the finest levels would add to
    the map's extremes is below a hundredth.
    """
    map_NHW = np.zeros((num, 1, 1), np.float32)
    swing = 1.0
    decay = 1.4**2  # the published fog applies its decay of 1.4 twice a level
    while map_NHW.shape[1] < FOG_COARSE:
        map_NHW = _refined(map_NHW, swing, rng)
        swing /= decay
    low_N11 = map_NHW.min(axis=(1, 2), keepdims=True)
    span_N11 = map_NHW.max(axis=(1, 2), keepdims=True) - low_N11
    # The corner is no torus, so its rim comes out wrong: two cells more all round, cut off below.
    cells = round(FOG_COARSE / FOG_MAP_SIDE)
    map_NHW = np.roll(map_NHW, (2, 2), axis=(1, 2))[:, : cells + 4, : cells + 4]
    fine = 1  # pixels a cell
    while cells * fine < size:
        map_NHW = _refined(map_NHW, swing, rng)
        swing /= decay
        fine *= 2
    corner_NHW = map_NHW[:, 2 * fine :, 2 * fine :][:, :size, :size]
    return np.asarray(np.clip((corner_NHW - low_N11) / span_N11, 0, 1), dtype=np.float32)


def _refined(map_NHW: NDArrayF32, swing: float, rng: Generator) -> NDArrayF32:
    """Twice the side: a new point is the mean of its four neighbours and up to `swing` off it."""
    num, size, _ = map_NHW.shape
    noise_3NHW = rng.random((3, num, size, size), np.float32) * (2 * swing) - swing
    right_NHW, below_NHW = np.roll(map_NHW, -1, axis=2), np.roll(map_NHW, -1, axis=1)
    corners_NHW = map_NHW + right_NHW + below_NHW + np.roll(below_NHW, -1, axis=2)
    middle_NHW = corners_NHW / 4 + noise_3NHW[0]
    across_NHW = map_NHW + right_NHW + middle_NHW + np.roll(middle_NHW, 1, axis=1)
    down_NHW = map_NHW + below_NHW + middle_NHW + np.roll(middle_NHW, 1, axis=2)
    out_NHW = np.empty((num, 2 * size, 2 * size), np.float32)
    out_NHW[:, ::2, ::2] = map_NHW
    out_NHW[:, 1::2, 1::2] = middle_NHW
    out_NHW[:, ::2, 1::2] = across_NHW / 4 + noise_3NHW[1]
    out_NHW[:, 1::2, ::2] = down_NHW / 4 + noise_3NHW[2]
    return out_NHW
