"""What is expected of a data set's images before anything is made of them.

N images, H/W pixels.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits import settings

U8 = NDArray[np.uint8]
MAGIC = {"images": 2051, "labels": 2049}  # unsigned bytes in three and in one dimension
# A class with fewer images than this share of an even split, or more than its inverse, is a fault
# of the data and not of chance: MNIST's rarest class, 5, has 0.90 of an even share.
BALANCE = 0.5
# Few images may be far from even by chance: by no more than this many standard deviations.
CHANCE = 3
# Drawn twice by the same hand is no accident; by chance a few blots coincide.
MAX_DUPLICATE_SHARE = 0.01


class ExpectationFailed(ValueError):
    """The images are not what they should be."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images (N, H, W) and their labels (N)."""

    images: U8
    labels: U8

    def __len__(self) -> int:
        return len(self.labels)


def check(split: Split, *, where: str, image_size: int, classes: list[Any]) -> None:
    """Raise ExpectationFailed unless images and labels are such as can be learned from."""
    images_NHW, labels_N = split.images, split.labels
    expect(len(images_NHW) > 0, f"{where} images, found none")
    expect(
        images_NHW.shape[1:] == (image_size, image_size),
        f"{where} images of {image_size}x{image_size} pixels, found {images_NHW.shape[1:]}",
    )
    expect(
        len(images_NHW) == len(labels_N),
        f"as many {where} labels as images, found {len(labels_N)} for {len(images_NHW)}",
    )
    highest = int(labels_N.max())
    expect(
        highest < len(classes),
        f"{where} labels in 0..{len(classes) - 1}, found {highest} "
        f"at image {int(labels_N.argmax())}",
    )
    flat_NP = images_NHW.reshape(len(images_NHW), -1)
    constant_N = flat_NP.min(axis=1) == flat_NP.max(axis=1)
    expect(
        not constant_N.any(),
        f"no constant {where} image, found {int(constant_N.sum())}, "
        f"the first at {int(constant_N.argmax())}",
    )
    even = len(labels_N) / len(classes)
    low, high = even * BALANCE, even / BALANCE
    fewest = max(0, math.ceil(low - CHANCE * math.sqrt(low)))
    most = math.floor(high + CHANCE * math.sqrt(high))
    for label, count in enumerate(np.bincount(labels_N, minlength=len(classes))):
        expect(
            fewest <= count <= most,
            f"{fewest} to {most} {where} images of class {classes[label]!r} "
            f"(an even share is {even:.0f}), found {count}",
        )


def count_duplicates(train_NHW: U8, test_NHW: U8) -> dict[str, int]:
    """How many images are exact copies of an earlier one, within each split and across them."""
    seen: dict[str, set[bytes]] = {}
    for name, images_NHW in (("train", train_NHW), ("test", test_NHW)):
        seen[name] = {image.tobytes() for image in images_NHW}
    return {
        "within train": len(train_NHW) - len(seen["train"]),
        "within test": len(test_NHW) - len(seen["test"]),
        "across train and test": len(seen["train"] & seen["test"]),
    }


def check_headers(raw: Path, *, prefix: str) -> None:
    """Check each IDX file's magic number and count before anything is made of its bytes."""
    counts = {}
    for kind, magic in MAGIC.items():
        path = raw / settings.IDX_PATHS[f"{prefix}_{kind}"]
        try:
            with path.open("rb") as file:
                header = file.read(8)
        except FileNotFoundError:
            raise FileNotFoundError(f"{path} is missing; run `dvc repro fetch`") from None
        found, counts[kind] = struct.unpack(">ii", header) if len(header) == 8 else (None, 0)
        expect(found == magic, f"magic number {magic} in {path.name}, found {found}")
    expect(
        counts["images"] == counts["labels"],
        f"as many {prefix} labels as images, found {counts['labels']} for {counts['images']}",
    )


def expect(holds: bool, expectation: str) -> None:
    if not holds:
        raise ExpectationFailed(f"expected {expectation}")
