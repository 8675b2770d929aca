"""Read images with a bundle: one digit, or a row of them digit by digit.

Shapes: B batch, H/W pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .normalize import Frames
from .predictor import Predictor

# px. MNIST's digits shrunk to 10 pixels are read at 90 %, to 8 at 46 %.
SMALLEST = 10


def answer(predictor: Predictor, images: Sequence[Frames]) -> list[dict[str, Any]]:
    """One answer an image: as `Predictor.answers`, and `row`, what was read of each digit in a row.

    An image is a row (reason `several`) when its parts side by side each look like a digit, more
    than half of them surely (`accepted`), and all of them together do not: the two halves of a
    broken 0 do. What is refused and has few pixels is `too_small` to tell; a blot, as where a pen
    touches down, is `unlike_a_digit`. `digit` is the best guess at the main one also then.
    """
    answers = predictor.answers(np.stack([image.frame for image in images]))
    for image, found in zip(images, answers, strict=True):
        found["row"] = _row(predictor, image)
        if found["row"]:
            found |= {"accepted": False, "reason": "several"}
        elif 0 < image.side < SMALLEST and not found["accepted"]:
            found["reason"] = "too_small"
        elif image.blot and found["accepted"]:
            found |= {"accepted": False, "reason": "unlike_a_digit"}
    return answers


def _row(predictor: Predictor, image: Frames) -> list[dict[str, Any]]:
    if image.together is None or predictor.accepts(image.together[None])[0]:
        return []
    parts = predictor.answers(np.stack(image.row))
    # A long number is a number also where one of its digits is hard to read.
    doubtful = [part["reason"] for part in parts if not part["accepted"]]
    if "unlike_a_digit" in doubtful or 2 * len(doubtful) >= len(parts):
        return []
    return [{key: part[key] for key in ("digit", "confidence", "accepted")} for part in parts]
