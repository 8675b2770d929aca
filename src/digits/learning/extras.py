"""Images that are mixed into each batch beside the training images: drawn digits and non-digits.

N images, H/W pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digits.arrays import read_arrays


@dataclass(frozen=True, kw_only=True)
class Extra:
    """Images (N, H, W), their labels (N), and how many of them a batch has for each of its own.

    That is `share` for the first `until` of the epochs and `late` of it in the rest, which is for
    the training images: what was learnt of the others stays.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    share: float
    until: float = 1.0
    late: float = 0.0

    def num(self, batch_size: int, *, progress: float) -> int:
        """How many of them are beside `batch_size` training images, so far into the training."""
        share = self.share if progress < self.until else self.share * self.late
        return round(share * batch_size)


def read_extras(
    path: Path,
    *,
    digits: float,
    nondigits: float,
    num_classes: int,
    nondigits_until: float,
    nondigits_late: float,
) -> list[Extra]:
    """What the synthesize stage drew, of each kind that is wanted and there.

    What is no digit has `num_classes` for its label: one more than the classes have.
    Raises FileNotFoundError when nothing was drawn, ValueError when the file is damaged.
    """
    if not digits and not nondigits:
        return []
    drawn, labels_N, others = read_arrays(
        path, ("images", "labels", "nondigits"), stage="synthesize"
    )
    found = (
        Extra(images=drawn, labels=labels_N.astype(np.int64), share=digits),
        Extra(
            images=others,
            labels=np.full(len(others), num_classes),
            share=nondigits,
            until=nondigits_until,
            late=nondigits_late,
        ),
    )
    return [extra for extra in found if extra.share and len(extra.labels)]
