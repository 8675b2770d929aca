"""The models that a service answers with: the selected one, and others to compare it with.

Shapes: B batch, K classes.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..reading.predictor import IDENTITY, Predictor
from .together import Together


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
    def identity(self) -> dict[str, Any]:
        """What every answer says of its model."""
        return {key: self.lineage[key] for key in IDENTITY}
