"""When not to believe an answer: images that look like nothing the model was trained on.

A softmax always answers. The logits say more before they are brought to a sum of 1: an image unlike
any class excites none of them. After W. Liu and others 2020 (arXiv 2010.03759).

B batch, K classes.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Reason = Literal["blank", "several", "unsure", "unlike_a_digit"]
# Two classes that have this much between them: the model hesitates and knows between which.
BETWEEN_TWO = 0.9


def familiarity(logits_BK: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """How much an image looks like some class (B), log(K) for one that excites all alike.

    The logarithm of the summed exponentials of the logits, less their mean: the same for logits
    that differ by a constant.
    """
    above_BK = logits_BK.astype(np.float64) - logits_BK.mean(axis=1, keepdims=True)
    highest_B = above_BK.max(axis=1)
    sum_B: NDArray[np.float64] = np.exp(above_BK - highest_B[:, None]).sum(axis=1)
    return np.asarray(highest_B + np.log(sum_B))


def fit_threshold(logits_NK: NDArray[np.floating[Any]], *, refuse: float) -> float:
    """The familiarity below which this share of these images lies, four digits of it."""
    if not 0 <= refuse < 1:
        raise ValueError(f"refuse must be in [0, 1), got {refuse!r}")
    return float(f"{np.quantile(familiarity(logits_NK), refuse):.4g}")


def reason(
    *, inked: bool, familiarity: float, threshold: float, probabilities_K: NDArray[np.float64]
) -> Reason | None:
    """Why an answer should not be believed; None when it may be."""
    if not inked:
        return "blank"
    if familiarity >= threshold:
        return None
    best_two = float(np.partition(probabilities_K, -2)[-2:].sum())
    return "unsure" if best_two >= BETWEEN_TWO else "unlike_a_digit"
