"""The models that a service answers with: the selected one, and others to compare it with.

Shapes: B batch, K classes.
"""

import logging
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..reading.predictor import IDENTITY, Predictor
from . import limits
from .together import Together

NUM_TIMED = 5  # readings, of which the quickest counts: the first warms up, others may be disturbed


@dataclass(frozen=True)
class Model:
    """A bundle opened for reading, and where it comes from."""

    predictor: Predictor
    lineage: dict[str, Any]

    def answers(self) -> bool:
        """Whether the network answers, asked about a frame without ink."""
        size = self.predictor.image_size
        try:
            probabilities_BK = self.predictor.probabilities(np.zeros((1, size, size), np.uint8))
        except Exception as error:  # ONNX Runtime has no exception class of its own to name
            logging.getLogger("bentoml.service").error("the model does not answer: %s", error)
            return False
        return bool(np.isfinite(probabilities_BK).all())

    @cached_property
    def together(self) -> Together:
        """Reads what several requests ask at the same moment."""
        return Together(self.predictor)

    @cached_property
    def frames_in_place(self) -> int:
        """How many frames may be read while others wait: as many as take IN_PLACE_MS."""
        if not self.answers():
            return 1
        size, num = self.predictor.image_size, limits.IMAGES_IN_PLACE
        frames_BHW = np.zeros((num, size, size), np.uint8)
        seconds = []
        for _ in range(NUM_TIMED):
            started = time.perf_counter()
            self.predictor.probabilities(frames_BHW)
            seconds.append(time.perf_counter() - started)
        most = int(limits.IN_PLACE_MS / 1000 * num / min(seconds))
        return max(1, min(most, limits.FRAMES_IN_PLACE))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What every answer says of its model."""
        return {key: self.lineage[key] for key in IDENTITY}
