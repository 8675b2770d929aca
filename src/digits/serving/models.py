"""The models that a service answers with: the selected one, and others to compare it with."""

from dataclasses import dataclass
from typing import Any

from ..reading.predictor import IDENTITY, Predictor


@dataclass(frozen=True)
class Model:
    """A bundle opened for reading, and where it comes from."""

    predictor: Predictor
    lineage: dict[str, Any]

    @property
    def identity(self) -> dict[str, Any]:
        """What every answer says of its model."""
        return {key: self.lineage[key] for key in IDENTITY}
