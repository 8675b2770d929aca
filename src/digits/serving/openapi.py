"""What the service says of itself: the OpenAPI document, and the page that shows it."""

from collections.abc import Sequence
from typing import Any, get_args

from ..reading.rejection import Reason
from . import examples, limits

# Swagger UI from the copy that BentoML serves. BentoML's own page would do, but it calls a
# tracker on another host.
DOCS_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>digits: the API</title>
<link rel="stylesheet" href="/static_content/swagger-ui.css">
<link rel="icon" href="data:,">
<div id="swagger-ui"></div>
<noscript>The routes are described in <a href="/docs.json">/docs.json</a>.</noscript>
<script src="/static_content/swagger-ui-bundle.js"></script>
<script src="/static_content/swagger-ui-standalone-preset.js"></script>
<script src="/static_content/swagger-initializer.js"></script>
</html>
"""


def describe(
    lineage: dict[str, Any], *, classes: Sequence[int | str], models: Sequence[str]
) -> dict[str, Any]:
    """The OpenAPI document of a service; the first model, of these classes, is the selected."""
    which = _which(models)
    document: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {
            "title": "digits",
            "version": str(lineage["tag"]).partition(":")[2],
            "description": "Reads handwritten digits from images of any size, colour or polarity.",
        },
        "paths": {
            "/predict": {
                "post": {
                    "summary": "Read one image",
                    "operationId": "predict",
                    "parameters": [which, _FRAME_PARAMETER],
                    "requestBody": _multipart("image", _FILE),
                    "responses": {**_answer("Prediction"), **_refusals(*_REFUSED)},
                }
            },
            "/predict_batch": {
                "post": {
                    "summary": f"Read up to {limits.MAX_IMAGES} images",
                    "operationId": "predict_batch",
                    "parameters": [which],
                    "requestBody": _multipart(
                        "images",
                        {
                            "type": "array",
                            "items": _FILE,
                            "minItems": 1,
                            "maxItems": limits.MAX_IMAGES,
                        },
                    ),
                    "responses": {**_answer("Predictions"), **_refusals(*_REFUSED)},
                }
            },
            "/classify": {
                "post": {
                    "summary": f"Read up to {limits.MAX_FRAMES:,} frames, normalised already",
                    "operationId": "classify",
                    "parameters": [which],
                    "requestBody": {
                        "required": True,
                        "content": {_OCTETS: {"schema": {**_FRAMES, "description": _OF_FRAMES}}},
                    },
                    "responses": {
                        "200": {
                            "description": "OK",
                            "content": {
                                "application/json": {"schema": _reference("Classes")},
                                _OCTETS: {"schema": {**_FRAMES, "description": _OF_ANSWERS}},
                            },
                        },
                        **_refusals("400", "404", "408", "413", "415"),
                    },
                }
            },
            "/model": {
                "get": {
                    "summary": "Where the model comes from and how it did on the test images",
                    "operationId": "model",
                    "parameters": [which],
                    "responses": {**_answer("Lineage"), **_refusals("400", "404")},
                }
            },
            "/samples": {
                "get": {
                    "summary": "Test images to try, read right and read wrong",
                    "operationId": "samples",
                    "responses": {**_answer("Samples"), **_refusals()},
                }
            },
            **{
                path: {
                    "get": {
                        "summary": summary,
                        "responses": {"200": {"description": "OK"}},
                        "security": [],  # asked by who has no token
                    }
                }
                for path, summary in (
                    ("/livez", "Whether the process lives"),
                    ("/readyz", "Whether it can answer"),
                    ("/metrics", "Prometheus metrics"),
                )
            },
        },
        "components": {
            "schemas": _schemas(classes),
            # Asked for where the service was started with tokens.
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }
    identity = {key: lineage[key] for key in _IDENTITY}
    answers = examples.answers(lineage, identity, classes=classes, models=models)
    _with_examples(document, answers, examples.errors(models))
    return document


def _with_examples(
    document: dict[str, Any], answers: dict[str, Any], errors: dict[str, str]
) -> None:
    """Show of each answer in JSON what it looks like."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if shown := response.get("content", {}).get("application/json"):
                    name = shown["schema"]["$ref"].rpartition("/")[2]
                    error = errors.get(f"{status} {path}", errors.get(status))
                    shown["example"] = {"error": error} if name == "Error" else answers[name]


_FILE = {"type": "string", "format": "binary", "description": "PNG, JPEG, WebP, BMP, GIF or TIFF"}
_OCTETS = "application/octet-stream"
_FRAMES = {"type": "string", "format": "binary"}
_OF_FRAMES = "frame after frame, a byte a pixel in rows, 0 = paper, 255 = ink"
_OF_ANSWERS = "probabilities, frame after frame, little-endian float32 in class order"


def _which(models: Sequence[str]) -> dict[str, Any]:
    return {
        "name": "model",
        "in": "query",
        "description": "which of the packaged models answers; only the first one's are counted",
        "schema": {"type": "string", "enum": list(models), "default": models[0]},
    }


_FRAME_PARAMETER = {
    "name": "frame",
    "in": "query",
    "description": "whether to answer with what the model saw as well",
    "schema": {"type": "boolean", "default": False},
}
_FRAME = {
    "type": "string",
    "format": "byte",
    "description": "the normalised image, a byte a pixel, 0 = paper; only with frame=true",
}
_IDENTITY = {
    "name": {"type": "string", "example": "cnn"},
    "version": {"type": "integer", "nullable": True, "description": "in the model registry"},
    "run_id": {"type": "string", "description": "of the training run"},
    "git_commit": {"type": "string", "nullable": True},
    "data_digest": {"type": "string", "description": "of the training data"},
}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _with_frame(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "properties": {**schema["properties"], "frame": _FRAME}}


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _answer_properties(classes: Sequence[int | str]) -> dict[str, Any]:
    kinds = {"integer" if isinstance(name, int) else "string" for name in classes}
    return {
        # Classes of both kinds have no type in common; the enumeration says it all.
        "digit": {**({"type": kinds.pop()} if len(kinds) == 1 else {}), "enum": list(classes)},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "probabilities": {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 1},
            "minItems": len(classes),
            "maxItems": len(classes),
            "description": f"of {', '.join(map(str, classes))}, in this order",
        },
        "accepted": {"type": "boolean", "description": "whether `digit` should be believed"},
        "reason": {"type": "string", "nullable": True, "enum": [None, *get_args(Reason)]},
    }


def _with_row(answer: dict[str, Any]) -> dict[str, Any]:
    read = _object({key: answer[key] for key in ("digit", "confidence", "accepted")})
    of_a_row = "each digit of several side by side, from the left; empty for anything else"
    return {**answer, "row": {"type": "array", "items": read, "description": of_a_row}}


def _schemas(classes: Sequence[int | str]) -> dict[str, Any]:
    answer = _with_row(_answer_properties(classes))
    return {
        "Model": _object(_IDENTITY),
        "Answer": _object(answer),
        "Prediction": _with_frame(_object({**answer, "model": _reference("Model")})),
        "Predictions": _object(
            {
                "predictions": {"type": "array", "items": _reference("Answer")},
                "model": _reference("Model"),
            }
        ),
        "Classes": _object(
            {
                "digits": {"type": "array", "items": answer["digit"]},
                "probabilities": {"type": "array", "items": answer["probabilities"]},
                "model": _reference("Model"),
            }
        ),
        "Lineage": _object(
            {
                "tag": {
                    "type": "string",
                    "description": "the selected model's tag in BentoML's model store; a digest",
                },
                **_IDENTITY,
                "metrics": {"type": "object", "description": "on the test images"},
                "dataset": {"type": "string", "description": "that it learnt from"},
                "fallback": {"type": "boolean", "description": "a stand-in for the one asked for"},
                "released": {"type": "boolean", "description": "came with the project"},
                "classes": {"type": "array", "items": answer["digit"]},
                "models": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "all that can be asked by ?model=NAME, the selected one first",
                },
            }
        ),
        "Samples": _object({"samples": {"type": "array", "items": _reference("Sample")}}),
        "Sample": _object(
            {
                "label": answer["digit"],
                "digit": {**answer["digit"], "description": "that was read"},
                "png": {"type": "string", "format": "byte"},
            }
        ),
        "Error": _object({"error": {"type": "string", "description": "one plain sentence"}}),
    }


def _multipart(field: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": _object({field: schema})}},
    }


def _json_response(description: str, schema: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": _reference(schema)}},
    }


def _answer(schema: str) -> dict[str, Any]:
    return {"200": _json_response("OK", schema)}


_REFUSED = {
    "400": "No image in the expected field, too many of them, or a parameter that is not known",
    "401": "The service was started with tokens, and none of them was sent",
    "404": "There is no model of that name",
    "408": "The body did not arrive, or too slowly",
    "413": "The body or its images together are too large",
    "415": "The body is of another type",
    "422": "A file is not an image that can be read",
    "503": "Too many requests at once; Retry-After says when to come back",
    "504": "The answer took too long",
}


def _refusals(*statuses: str) -> dict[str, Any]:
    """Those of these statuses, and of those that every route has."""
    every = sorted({*statuses, "401", "503", "504"})
    return {status: _json_response(_REFUSED[status], "Error") for status in every}
