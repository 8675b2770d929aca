"""When not to believe an answer: images that look like nothing the model knows.

A softmax over the classes always answers. A network that has learnt what is none of them has one
more output, for that; of any other, the logits say more before they are brought to a sum of 1: an
image unlike every class excites none of them (W. Liu and others 2020, arXiv 2010.03759).

B batch, N images, K classes (in a network's outputs one more where it knows what is none of them).
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Reason = Literal["blank", "several", "too_small", "unsure", "unlike_a_digit"]
# Two classes that have this much between them: the model hesitates and knows between which.
BETWEEN_TWO = 0.9
LEAST = 0.5  # below this an answer is wrong more often than right


def familiarity(outputs_BK: NDArray[np.floating[Any]], *, num_classes: int) -> NDArray[np.float64]:
    """How much an image looks like some class (B), the same for outputs that differ by a constant.

    How far the logits of the classes, taken together, are above their mean; and, where the network
    has an output for none of them, how far they are above that.
    """
    logits_BK = outputs_BK[:, :num_classes].astype(np.float64)
    highest_B = logits_BK.max(axis=1)
    sum_B: NDArray[np.float64] = np.exp(logits_BK - highest_B[:, None]).sum(axis=1)
    together_B = highest_B + np.log(sum_B)
    familiar_B = together_B - logits_BK.mean(axis=1)
    if outputs_BK.shape[1] > num_classes:
        familiar_B += together_B - outputs_BK[:, num_classes]
    return np.asarray(familiar_B)


def fit_threshold(familiarity_N: NDArray[np.float64], *, refuse: float) -> float:
    """The familiarity below which this share of images lies, four digits of it."""
    if not 0 <= refuse < 1:
        raise ValueError(f"refuse must be in [0, 1), got {refuse!r}")
    return float(f"{np.quantile(familiarity_N, refuse):.4g}")


def reason(
    *, inked: bool, familiarity: float, threshold: float, probabilities_K: NDArray[np.float64]
) -> Reason | None:
    """Why an answer should not be believed; None when it may be."""
    if not inked:
        return "blank"
    second, best = (float(share) for share in np.partition(probabilities_K, -2)[-2:])
    if familiarity >= threshold:
        return None if best >= LEAST else "unsure"
    return "unsure" if best + second >= BETWEEN_TWO else "unlike_a_digit"
