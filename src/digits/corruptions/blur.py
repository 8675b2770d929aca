"""Corruptions that smear the ink.

Shapes: N images, H/W pixels, P all pixels of a frame.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator
from scipy import ndimage

from .ink import NDArrayU8, frames, ink, unit


def glass_blur(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """As through frosted glass: blurred, pixels swapped with near ones in two rounds, blurred."""
    num, size, _ = frames_NHW.shape
    reach = max(1, round(unit(frames_NHW)))
    # Blurred up and down alone, as the published sets are: their library took the columns of a
    # grey image for the channels of a coloured one.
    sigma = (0, 0.7 * unit(frames_NHW), 0)
    blurred_NHW = ndimage.gaussian_filter(ink(frames_NHW), sigma, mode="nearest")
    # A swap must see the ones before it, so pixels go one by one, each in all images at once.
    ink_PN = np.ascontiguousarray(blurred_NHW.reshape(num, size * size).T)
    every_N = np.arange(num)
    for _ in range(2):
        for y in range(size - reach, reach, -1):
            dy_WN, dx_WN = rng.integers(-reach, reach, (2, size, num))
            step_WN = (dy_WN * size + dx_WN) * rng.integers(0, 2, (size, num))  # half stay
            for x in range(size - reach, reach, -1):
                here = y * size + x
                there_N = here + step_WN[x]
                was_N = ink_PN[here].copy()
                ink_PN[here] = ink_PN[there_N, every_N]
                ink_PN[there_N, every_N] = was_N
    shuffled_NHW = ink_PN.T.reshape(frames_NHW.shape)
    return frames(ndimage.gaussian_filter(shuffled_NHW, sigma, mode="nearest"))


def motion_blur(frames_NHW: NDArrayU8, rng: Generator) -> NDArrayU8:
    """Smeared to the left, up to 45 degrees up or down, by half a Gaussian of 3 pixels."""
    num, size, _ = frames_NHW.shape
    sigma, longest = 3 * unit(frames_NHW), round(20 * unit(frames_NHW))
    weights = np.exp(-((np.arange(longest + 1) / sigma) ** 2) / 2)
    weights /= weights.sum()
    rim = (longest, longest)
    padded_NHW = np.pad(ink(frames_NHW), ((0, 0), rim, rim), mode="edge")
    # windows[n, y, x] is image n seen from there, so each image can look its own way.
    windows = sliding_window_view(padded_NHW, (size, size), axis=(1, 2))
    every_N = np.arange(num)
    angle_N = np.radians(rng.uniform(-45, 45, num))
    out_NHW = np.zeros(frames_NHW.shape, np.float32)
    for i, weight in enumerate(weights.astype(np.float32)):
        # To whole pixels, as the published sets were made.
        y_N = longest + np.rint(i * np.sin(angle_N)).astype(int)
        x_N = longest + np.rint(i * np.cos(angle_N)).astype(int)
        out_NHW += weight * windows[every_N, y_N, x_N]
    return frames(out_NHW)
