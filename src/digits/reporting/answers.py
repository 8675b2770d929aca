"""A model's answers to the test images, for people: tables, sheets, and samples to try.

N images, H/W pixels, K classes.
"""

import base64
import csv
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digits import scores
from digits.files import replacing

NUM_MISTAKES_SHOWN = 32
NUM_SHOWN = 4  # of each class, right or wrong, on the sheet of predictions
NUM_WRONG_SAMPLES = 10  # for the page to try, beside one of each class that is read right


@dataclass(frozen=True)
class Answers:
    """Images (N, H, W), what they are (N), as indices into `classes`, and what was read (N, K)."""

    classes: tuple[int | str, ...]
    images: NDArray[np.uint8]
    labels: NDArray[np.integer[Any]]
    probabilities: NDArray[np.floating[Any]]

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def wrong(self) -> NDArray[np.int64]:
        """The numbers of the images that are misread."""
        return np.flatnonzero(self.predictions != self.labels)

    def caption(self, index: int) -> str:
        """What an image is, what was read, how sure."""
        confidence = float(self.probabilities[index].max())
        sure = ">99%" if confidence >= 0.995 else f"{confidence:.0%}"  # nothing is certain
        return (
            f"{self.classes[self.labels[index]]} read as {self.classes[self.predictions[index]]}\n"
            f"{sure}, no. {index}"
        )


def write_confusion(path: Path, answers: Answers) -> None:
    """A line an image, actual and predicted, as `dvc plots` wants it."""
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("actual", "predicted"))
        writer.writerows(
            (answers.classes[label], answers.classes[prediction])
            for label, prediction in zip(answers.labels, answers.predictions, strict=True)
        )


def draw(report: Path, answers: Answers, *, name: str) -> list[Path]:
    """Write confusion.png, mistakes.png and predictions.png, and return where they are."""
    from digits.reporting import figures

    # The most confident mistakes first: those are what a threshold would not catch.
    confidence_N = answers.probabilities[answers.wrong].max(axis=1)
    worst = answers.wrong[np.argsort(-confidence_N, kind="stable")][:NUM_MISTAKES_SHOWN]
    # The first of each class, as they come: what is right looks like this.
    num_classes = len(answers.classes)
    shown = np.concatenate(
        [np.flatnonzero(answers.labels == label)[:NUM_SHOWN] for label in range(num_classes)]
    )
    num_each = min(NUM_SHOWN, int(np.bincount(answers.labels).max()))
    num, num_wrong = len(answers.labels), len(answers.wrong)
    drawn = {
        "confusion.png": figures.confusion(
            scores.confusion_matrix(answers.labels, answers.predictions, num_classes),
            answers.classes,
            title=f"{name}: {num - num_wrong:,} of {num:,} test images right",
        ),
        "mistakes.png": figures.captioned_sheet(
            answers.images[worst],
            [answers.caption(index) for index in worst],
            title=f"{name}: {_which_mistakes(num_wrong)}",
        ),
        "predictions.png": figures.captioned_sheet(
            answers.images[shown],
            [answers.caption(index) for index in shown],
            title=f"{name}: the first {num_each} test images of each class",
        ),
    }
    for file_name, figure in drawn.items():
        with replacing(report / file_name) as beside:
            figure.savefig(beside, format="png", dpi=110, metadata={"Software": None})
    return [report / file_name for file_name in drawn]


def pick_samples(answers: Answers) -> list[dict[str, Any]]:
    """Images to try: the first of each class that is read right, and the first that are not.

    Each with its `label`, the `digit` that was read, and `png`, the image in base64.
    """
    right_N = answers.predictions == answers.labels
    picked = [
        index
        for label in range(len(answers.classes))
        for index in np.flatnonzero(right_N & (answers.labels == label))[:1]
    ]
    picked += list(answers.wrong[:NUM_WRONG_SAMPLES])
    return [
        {
            "label": answers.classes[answers.labels[index]],
            "digit": answers.classes[answers.predictions[index]],
            "png": _png(answers.images[index]),
        }
        for index in picked
    ]


def _png(image_HW: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image_HW).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _which_mistakes(num: int) -> str:
    if num == 0:
        return "no mistakes"
    if num <= NUM_MISTAKES_SHOWN:
        return f"all {num} mistakes, the most confident first" if num > 1 else "the only mistake"
    return f"the {NUM_MISTAKES_SHOWN} most confident of {num:,} mistakes"
