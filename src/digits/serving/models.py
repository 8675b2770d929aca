"""The models that a service answers with: the selected one, and others to compare it with."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..reading.predictor import IDENTITY, Predictor
from .together import Together


@dataclass(frozen=True)
class Model:
    """A bundle opened for reading, and where it comes from."""

    predictor: Predictor
    lineage: dict[str, Any]

    @cached_property
    def together(self) -> Together:
        """Reads what several requests ask at the same moment."""
        return Together(self.predictor)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What every answer says of its model."""
        return {key: self.lineage[key] for key in IDENTITY}
