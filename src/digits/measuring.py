"""What the gate knows of two models: how both read the same images, and what the guards look at.

Shapes: N images, H/W pixels, K classes.
"""

import contextlib
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits import labelled, paired, scores
from digits.arrays import read_arrays
from digits.judging import Measured
from digits.paired import Paired
from digits.reading.normalize import UnreadableImage, normalize_row, open_image
from digits.reading.predictor import Predictor

NUM_TIMED = 200  # images, each answered by both in turn


def compare(
    models: tuple[Predictor, Predictor],
    *,
    bundles: tuple[Path, Path],
    metrics: tuple[Mapping[str, Any], Mapping[str, Any]],
    test: Path,
    wild: str | None,
) -> tuple[Paired, Measured, Measured]:
    """Let two models of the same classes read the same images; the first counts as the champion.

    `bundles` are their folders, `metrics` what `evaluate` wrote of them, `test` the test images,
    `wild` a folder of labelled images from outside, or None. ValueError for damaged ones.
    """
    images_NHW, labels_N = read_arrays(test, ("images", "labels"), stage="prepare")
    probabilities = [model.probabilities(images_NHW) for model in models]
    latencies = _latencies_ms(models, images_NHW)
    outside = _wild_accuracies(models, wild)
    first, second = (
        Measured(
            worst_class=_worst_class(labels_N, probabilities[which]),
            ece=scores.expected_calibration_error(labels_N, probabilities[which]),
            mean_corrupted_accuracy=metrics[which].get("mean_corrupted_accuracy"),
            wild_accuracy=outside[which],
            latency_ms=latencies[which],
            size_bytes=(bundles[which] / "model.onnx").stat().st_size,
        )
        for which in (0, 1)
    )
    right = [probabilities_NK.argmax(axis=1) == labels_N for probabilities_NK in probabilities]
    return paired.compare(*right), first, second


def _worst_class(labels_N: NDArray[Any], probabilities_NK: NDArray[Any]) -> float:
    counts_KK = scores.confusion_matrix(
        labels_N, probabilities_NK.argmax(axis=1), probabilities_NK.shape[1]
    )
    return min(row["recall"] for row in scores.per_class(counts_KK) if row["num"])


def _latencies_ms(
    models: tuple[Predictor, Predictor], images_NHW: NDArray[np.uint8]
) -> list[float]:
    """Median milliseconds of one image; in turn, so that a busy moment is both's."""
    taken: tuple[list[float], list[float]] = ([], [])
    for image_HW in images_NHW[:NUM_TIMED]:
        for model, seconds in zip(models, taken, strict=True):
            started = time.perf_counter()
            model.probabilities(image_HW[None])
            seconds.append(time.perf_counter() - started)
    return [round(statistics.median(seconds) * 1000, 4) for seconds in taken]


def _wild_accuracies(
    models: tuple[Predictor, Predictor], folder: str | None
) -> list[float] | list[None]:
    """The accuracy of both on labelled images from outside; None where there are none."""
    (classes, size), frames, labels = (models[0].classes, models[0].image_size), [], []
    for path, label in _labelled(folder):
        if label in classes and path.is_file():
            with contextlib.suppress(UnreadableImage):
                frames.append(normalize_row(open_image(path.read_bytes()), size=size).frame)
                labels.append(classes.index(label))
    if not frames:
        return [None, None]
    frames_NHW, labels_N = np.stack(frames), np.array(labels)
    return [float((model.logits(frames_NHW).argmax(axis=1) == labels_N).mean()) for model in models]


def _labelled(folder: str | None) -> list[tuple[Path, int]]:
    if folder is None or not labelled.tables(Path(folder)):
        return []
    return [image for images in labelled.read_sets(Path(folder)).values() for image in images]
