"""What the routes answer, as the OpenAPI document shows it: of the model that is opened."""

from collections.abc import Sequence
from typing import Any

from . import limits
from .access import no_token
from .guard import too_long, too_many
from .uploads import too_large, too_slow

SHOWN = 7  # the class that the examples read, where there are so many
# An image of one black pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def errors(models: Sequence[str]) -> dict[str, str]:
    """By status, and by status and path where that differs, the sentence that the service says."""
    return {
        "400": "the image belongs in the multipart field 'image'; fields received: 'file'"
        " (a body cut short loses its last field)",
        "400 /classify": "/classify takes model in its query, not 'modle'",
        "400 /model": "/model takes model in its query, not 'modle'",
        "401": no_token(),
        "404": f"there is no model 'nobody'; there is {', '.join(models)}",
        "408": too_slow().sentence,
        "413": too_large(limits.MAX_BODY_BYTES).sentence,
        "415": "send multipart/form-data with the image in field 'image' "
        "(curl -F image=@digit.png), not 'text/plain'",
        "422": "the 5 bytes are not an image that can be read; "
        "send a PNG, JPEG, WebP, BMP, GIF or TIFF file",
        "503": too_many(),
        "504": too_long(),
    }


def answers(
    lineage: dict[str, Any],
    identity: dict[str, Any],
    *,
    classes: Sequence[int | str],
    models: Sequence[str],
) -> dict[str, Any]:
    """An example of each schema that is answered, by the schema's name."""
    best = min(SHOWN, len(classes) - 1)
    rest = 0.0001
    confidence = round(1 - rest * (len(classes) - 1), 6)
    probabilities = [rest] * len(classes)
    probabilities[best] = confidence
    answer = {
        "digit": classes[best],
        "confidence": confidence,
        "probabilities": probabilities,
        "accepted": True,
        "reason": None,
        "row": [],
    }
    return {
        "Prediction": {**answer, "model": identity},
        "Predictions": {"predictions": [answer], "model": identity},
        "Classes": {
            "digits": [classes[best]],
            "probabilities": [probabilities],
            "model": identity,
        },
        "Lineage": {**lineage, "classes": list(classes), "models": list(models)},
        "Samples": {"samples": [{"label": classes[best], "digit": classes[best], "png": PNG}]},
    }


def without_values(content: dict[str, Any]) -> dict[str, Any]:
    """The same keys, and of each value only what kind it is."""
    return {key: _without(value) for key, value in content.items()}


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return without_values(value)
    if isinstance(value, list):
        return [*map(_without, value)]
    return value if value is None or isinstance(value, bool) else type(value)()
