"""Scores of predictions: plain arrays in, numbers out.

N images, K classes.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 15  # of confidence, as Guo et al. 2017 have them

Labels = NDArray[np.integer[Any]]
Probabilities = NDArray[np.floating[Any]]


def accuracy(labels_N: Labels, predictions_N: Labels) -> float:
    """The share predicted right, in [0, 1]."""
    return float((labels_N == predictions_N).mean())


def wilson_interval(share: float, num: int, *, z: float = 1.96) -> tuple[float, float]:
    """The interval that covers the true share; 95 % for z = 1.96 (E. B. Wilson 1927)."""
    if num <= 0:
        raise ValueError(f"num must be positive, got {num!r}")
    centre = (share + z**2 / (2 * num)) / (1 + z**2 / num)
    half = z / (1 + z**2 / num) * math.sqrt(share * (1 - share) / num + z**2 / (4 * num**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def standard_error(share: float, num: int) -> float:
    """The standard error of a share of num independent images."""
    return math.sqrt(share * (1 - share) / num)


def negative_log_likelihood(labels_N: Labels, probabilities_NK: Probabilities) -> float:
    """The mean of -log(probability given to the right class), nats."""
    right_N = probabilities_NK[np.arange(len(labels_N)), labels_N]
    return float(-np.log(np.clip(right_N, 1e-12, None)).mean())


def expected_calibration_error(
    labels_N: Labels, probabilities_NK: Probabilities, *, num_bins: int = NUM_BINS
) -> float:
    """How far confidence is from accuracy, in [0, 1], over bins of equal width.

    Guo et al. 2017 (arXiv 1706.04599).
    """
    confidence_N = probabilities_NK.max(axis=1)
    right_N = probabilities_NK.argmax(axis=1) == labels_N
    # The last bin is closed: a confidence of exactly 1 belongs to it.
    bin_N = np.minimum((confidence_N * num_bins).astype(int), num_bins - 1)
    gap_sum = 0.0
    for index in np.unique(bin_N):
        inside = bin_N == index
        gap_sum += abs(float(right_N[inside].sum() - confidence_N[inside].sum()))
    return gap_sum / len(labels_N)


def confusion_matrix(
    labels_N: Labels, predictions_N: Labels, num_classes: int
) -> NDArray[np.int64]:
    """Counts (K, K): row = the label, column = what was predicted."""
    counts_KK = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts_KK, (labels_N, predictions_N), 1)
    return counts_KK


def per_class(confusion_KK: NDArray[np.int64]) -> list[dict[str, float]]:
    """Precision, recall, F1 and the number of images of each class; 0 where undefined."""
    hits_K = np.diag(confusion_KK).astype(float)
    labelled_K = confusion_KK.sum(axis=1)
    predicted_K = confusion_KK.sum(axis=0)
    return [
        {
            "precision": float(hits / predicted) if predicted else 0.0,
            "recall": float(hits / labelled) if labelled else 0.0,
            "f1": float(2 * hits / (labelled + predicted)) if labelled + predicted else 0.0,
            "num": int(labelled),
        }
        for hits, labelled, predicted in zip(hits_K, labelled_K, predicted_K, strict=True)
    ]
