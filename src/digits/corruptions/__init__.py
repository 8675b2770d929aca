"""The fifteen corruptions of MNIST-C, which show how far a model's reading is from a person's.

Each takes a whole batch of square frames and a generator and gives new frames. Kinds and strengths
are those of the published test sets (N. Mu and J. Gilmer 2019, "MNIST-C: A Robustness Benchmark
for Computer Vision", arXiv 1906.02337, one strength each), so that accuracies can be set beside
published ones. Lengths are given for frames of 28 pixels and grow with the frame.
"""

import numpy as np

from .blur import glass_blur, motion_blur
from .geometry import rotate, scale, shear, translate
from .ink import Corruption, NDArrayU8
from .light import brightness, fog, impulse_noise, shot_noise, spatter, stripe
from .strokes import canny_edges, dotted_line, zigzag

__all__ = ["CORRUPTIONS", "SMALLEST", "Corruption", "corrupt"]

SMALLEST = 8  # pixels a side; no digit is legible below, and no corruption was tried there

# In the paper's order.
CORRUPTIONS: dict[str, Corruption] = {
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "shear": shear,
    "scale": scale,
    "rotate": rotate,
    "brightness": brightness,
    "translate": translate,
    "stripe": stripe,
    "fog": fog,
    "spatter": spatter,
    "dotted_line": dotted_line,
    "zigzag": zigzag,
    "canny_edges": canny_edges,
}


def corrupt(name: str, frames_NHW: NDArrayU8, *, seed: int) -> NDArrayU8:
    """The frames, corrupted: (N, H, H) uint8, 0 = paper, 255 = ink → the same shape, new bytes.

    The same frames and seed give the same result. What an image gets depends on its place in the
    batch and on the size of the batch: compare models on whole sets. Raises ValueError for a name
    that is not in CORRUPTIONS and for frames of another kind.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"corruption must be one of {', '.join(CORRUPTIONS)}; got {name!r}")
    shape = frames_NHW.shape
    square = len(shape) == 3 and shape[1] == shape[2] >= SMALLEST
    if frames_NHW.dtype != np.uint8 or not square:
        raise ValueError(
            f"frames must be uint8 of shape (N, H, H) with H >= {SMALLEST}, "
            f"got {frames_NHW.dtype} of shape {shape}"
        )
    # Each has a stream of its own, which does not change when another is added or left out.
    return CORRUPTIONS[name](frames_NHW, np.random.default_rng([seed, *name.encode()]))
