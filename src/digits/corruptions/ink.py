"""Between frames of bytes and the ink that corruptions reckon with.

Shapes: N images, H/W pixels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

NDArrayU8 = NDArray[np.uint8]
NDArrayF32 = NDArray[np.float32]
# Frames (N, H, H), 0 = paper, 255 = ink, and a source of randomness → new frames.
Corruption = Callable[[NDArrayU8, Generator], NDArrayU8]


def ink(frames_NHW: NDArrayU8) -> NDArrayF32:
    """Bytes to ink in 0..1."""
    return np.divide(frames_NHW, 255, dtype=np.float32)


def frames(ink_NHW: NDArray[np.floating[Any]]) -> NDArrayU8:
    """Ink to bytes; below 0 is paper and above 1 full ink."""
    return np.asarray(np.rint(np.clip(ink_NHW, 0, 1) * 255), dtype=np.uint8)


def unit(frames_NHW: NDArrayU8) -> float:
    """What one pixel of MNIST's frames is in these, pixels."""
    return float(frames_NHW.shape[1] / 28)
