"""scikit-learn's own 1,797 digits as IDX files: a data set that needs no mirror.

They are real: the test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and
C. Kaynak, 1998, https://doi.org/10.24432/C50P49, reduced by its authors to 8x8 pixels of 0..16.

Shapes: N images, H/W pixels.
"""

import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from digits.reading.normalize import NDArrayU8, normalize

NAME = "optdigits"
LICENCE = "CC BY 4.0"
TEST_SHARE = 0.2
# It stands in for a published split, so it is the same whatever the pipeline's seed is.
SPLIT_SEED = 0
MARGIN = 4  # pixels of the 8x8 image
ZOOM = 8


def idx_files(*, size: int | None = None) -> dict[str, bytes]:
    """The four files by role (train_images, …): uint8 images, 0 = paper, 255 = ink.

    The images are frames of (size, size) pixels as the normaliser makes them, to stand in for a
    data set of that size; or, without a size, the 8x8 pixels as they are, which the digit fills.
    Stratified 80/20 split, the same everywhere. The authors' split by writer is not known here:
    the same hands are in both parts, so accuracy on them flatters.
    """
    digits = load_digits()
    frames_NHW = _ink(digits.images)
    if size is not None:
        frames_NHW = np.stack([_frame(ink_HW, size=size) for ink_HW in frames_NHW])
    labels_N = digits.target.astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(labels_N)), test_size=TEST_SHARE, stratify=labels_N, random_state=SPLIT_SEED
    )
    return {
        "train_images": idx(frames_NHW[train]),
        "train_labels": idx(labels_N[train]),
        "test_images": idx(frames_NHW[test]),
        "test_labels": idx(labels_N[test]),
    }


def idx(array: NDArrayU8) -> bytes:
    """An array of bytes in the IDX format: 0, 0, type 8 (uint8), dimensions, sizes, content."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


def _ink(levels: NDArray[np.float64]) -> NDArrayU8:
    """Their 17 levels of grey as bytes."""
    return np.rint(levels * (255 / 16)).astype(np.uint8)


def _frame(ink_HW: NDArrayU8, *, size: int) -> NDArrayU8:
    # The digits touch their edge: a margin shows the normaliser which of the two is the paper.
    small = Image.fromarray(np.pad(ink_HW, MARGIN))
    # Made larger smoothly here, as the normaliser expects photos and drawings, not eight pixels.
    large = small.resize((small.width * ZOOM, small.height * ZOOM), Image.Resampling.BICUBIC)
    return normalize(large, size=size)
