"""Images that are mixed into each batch beside the training images: drawn digits and non-digits.

N images, H/W pixels.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


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
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            drawn, labels_N = arrays["images"], arrays["labels"].astype(np.int64)
            others = arrays["nondigits"]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; run `dvc repro synthesize`") from None
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}; run `dvc repro -f synthesize`") from None
    found = (
        Extra(images=drawn, labels=labels_N, share=digits),
        Extra(
            images=others,
            labels=np.full(len(others), num_classes),
            share=nondigits,
            until=nondigits_until,
            late=nondigits_late,
        ),
    )
    return [extra for extra in found if extra.share and len(extra.labels)]
