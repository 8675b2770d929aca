"""The HTTP routes, as a Starlette application that BentoML mounts at the root.

Mounted routes rather than `bentoml.api` methods: every refusal is ours to word, received bytes
are counted, and none of BentoML's serialisations (pickle is one of them) is reachable.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..reading import reader
from ..reading.normalize import Frames, UnreadableImage, decoded, normalize_row, open_header
from . import limits
from .access import Access, read_tokens
from .examples import without_values
from .guard import Guard
from .metrics import PATH as METRICS_PATH
from .metrics import Metrics, Timed, exposition, metrics
from .models import Model
from .openapi import DOCS_PAGE, describe
from .uploads import (
    OCTETS,
    Refused,
    expect_pixels_within_limit,
    num_pixels,
    receive_frames,
    receive_images,
    takes_bytes,
)

T = TypeVar("T")
U = TypeVar("U")
FRAME = {"true": True, "1": True, "false": False, "0": False}
WEB = Path(__file__).parent / "web"
# The page asks nothing of other hosts, runs no script but its own, and is shown in no frame.
PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
}


def open_model(
    app: Starlette,
    selected: Model,
    *,
    others: Mapping[str, Model] | None = None,
    samples: Sequence[dict[str, Any]] = (),
) -> None:
    """Give the routes the model they answer with; once a worker, before the first request.

    The others, by name, answer where a request asks for them: `?model=NAME`. `samples` are test
    images for the page: label, the digit read, and the image as base64 PNG.
    """
    app.state.model = selected
    app.state.models = {selected.lineage["name"]: selected, **(others or {})}
    for each in app.state.models.values():
        _ = each.frames_in_place  # measured now, and not while somebody waits
    app.state.samples = samples
    app.state.metrics = metrics()
    app.state.metrics.opened(selected.identity)
    # Where a request is given up its thread goes on, and keeps its place among these until the end.
    app.state.threads = ThreadPoolExecutor(limits.MAX_DECODING)


def model_asked(request: Request, *also: str) -> Model:
    """The model that a request names, or the selected one; Refused for a query not understood."""
    state = request.app.state
    for key in request.query_params:
        if key not in (known := ("model", *also)):
            path = request.url.path
            raise Refused(400, f"{path} takes {' and '.join(known)} in its query, not {key[:40]!r}")
        if len(request.query_params.getlist(key)) > 1:
            raise Refused(400, f"{key} is in the query more than once; give it once")
    name = request.query_params.get("model")
    if name is None:
        return state.model  # type: ignore[no-any-return]
    if name not in state.models:
        raise Refused(404, f"there is no model {name[:40]!r}; there is {', '.join(state.models)}")
    return state.models[name]  # type: ignore[no-any-return]


async def predict(request: Request) -> Response:
    """One image in, one answer out."""
    model = model_asked(request, "frame")
    frame = request.query_params.get("frame", "false")
    if frame.lower() not in FRAME:
        raise Refused(400, f"frame must be true or false, got {frame[:40]!r}")
    images = await receive_images(request, field="image", most=1)
    (answer,) = await _answers(request, model, images, with_frames=FRAME[frame.lower()])
    return _json({**answer, "model": model.identity})


async def predict_batch(request: Request) -> Response:
    """Several images in, their answers in the same order."""
    model = model_asked(request)
    images = await receive_images(request, field="images", most=limits.MAX_IMAGES)
    answers = await _answers(request, model, images)
    return _json({"predictions": answers, "model": model.identity})


async def classify(request: Request) -> Response:
    """Frames in as bytes, their probabilities out: the way for who normalises themselves.

    As JSON, or as little-endian float32 of shape (B, K) where the client accepts bytes.
    """
    state, model = request.app.state, model_asked(request)
    frames_BHW = await receive_frames(request, size=model.predictor.image_size)
    with state.metrics.model_s.time():
        if len(frames_BHW) <= model.frames_in_place:
            probabilities_BK = await model.together.probabilities(frames_BHW)
        else:
            probabilities_BK = await asyncio.get_running_loop().run_in_executor(
                state.threads, model.predictor.probabilities, frames_BHW
            )
    classes = model.predictor.classes
    digits = [classes[index] for index in probabilities_BK.argmax(axis=1).tolist()]
    if model is state.model:
        state.metrics.classified(digits)
    if takes_bytes(request.headers.get("accept", "")):
        return Response(probabilities_BK.astype("<f4").tobytes(), media_type=OCTETS)
    content = {
        "digits": digits,
        "probabilities": probabilities_BK.round(6).tolist(),
        "model": model.identity,
    }
    return _json(content)


async def page(request: Request) -> Response:
    """The page to draw on."""
    return FileResponse(WEB / "index.html", headers=PAGE_HEADERS)


async def model(request: Request) -> Response:
    """Where the model comes from, what it answers and how it did on the test images."""
    asked = model_asked(request)
    names = list(request.app.state.models)
    return _json({**asked.lineage, "classes": asked.predictor.classes, "models": names})


async def samples(request: Request) -> Response:
    """Test images to try on the page, right and wrong ones."""
    return _json({"samples": request.app.state.samples})


async def docs(request: Request) -> Response:
    """The page that describes the routes and lets one try them."""
    return HTMLResponse(DOCS_PAGE)


async def docs_json(request: Request) -> Response:
    """The OpenAPI document that the page shows. BentoML's own knows no mounted route."""
    state = request.app.state
    lineage = state.model.lineage
    if read_tokens():  # this is open, where the model comes from is not
        lineage = without_values(lineage)
    return _json(
        describe(lineage, classes=state.model.predictor.classes, models=list(state.models))
    )


def prometheus(request: Request) -> Response:
    """The counts of all workers, for Prometheus; read from files, so in a thread."""
    content, media_type = exposition()
    return Response(content, media_type=media_type)


async def _answers(
    request: Request, model: Model, images: Sequence[bytes], *, with_frames: bool = False
) -> list[dict[str, Any]]:
    state = request.app.state
    read = partial(_read, model, state.metrics, with_frames=with_frames)
    few = len(images) <= min(limits.IMAGES_IN_PLACE, model.frames_in_place)
    opened = _opened(images) if few and sum(map(len, images)) <= limits.BYTES_IN_PLACE else None
    if opened and num_pixels(opened) <= limits.PIXELS_IN_PLACE:
        answers = read(opened)
    else:  # a photo takes tens of milliseconds to decode, and so do many small images

        def in_a_thread() -> list[dict[str, Any]]:
            return read(opened or _opened(images))

        answers = await asyncio.get_running_loop().run_in_executor(state.threads, in_a_thread)
    if model is state.model:  # what is asked of another model is a comparison, and counted nowhere
        state.metrics.answered(answers)
    return answers


def _opened(images: Sequence[bytes]) -> list[Image.Image]:
    """The headers of all images; Refused for what is none, or for too many pixels together."""
    opened = _each(open_header, images, num=len(images))
    expect_pixels_within_limit(opened)
    return opened


def _read(
    model: Model, metrics: Metrics, opened: list[Image.Image], *, with_frames: bool
) -> list[dict[str, Any]]:
    predictor = model.predictor
    with metrics.normalize_s.time():
        # Taken out of the list, so that an image's pixels are let go once its frame is found.
        num = len(opened)
        taken = (opened.pop(0) for _ in range(num))

        def find(image: Image.Image) -> Frames:
            return normalize_row(decoded(image), size=predictor.image_size)

        found = _each(find, taken, num=num)
    with metrics.model_s.time():
        answers = reader.answer(predictor, found)
    if with_frames:
        for answer, frames in zip(answers, found, strict=True):
            answer["frame"] = base64.b64encode(frames.frame.tobytes()).decode()
    return answers


def _each(step: Callable[[T], U], images: Iterable[T], *, num: int) -> list[U]:
    """A step of reading for each of the `num` images; Refused (422) says which cannot be read."""
    done = []
    for index, image in enumerate(images):
        try:
            done.append(step(image))
        except UnreadableImage as error:
            place = f"image {index + 1} of {num}: " if num > 1 else ""
            raise Refused(422, f"{place}{error}") from None
    return done


def _json(content: Any) -> Response:
    return Response(json.dumps(content, allow_nan=False), media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse({"error": error.sentence}, status_code=error.status)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = error.detail
    if error.status_code == 404:
        sentence = f"{request.url.path[:80]} is not there; the page is at /, the routes at /docs"
    elif error.status_code == 405:
        sentence = f"{request.url.path} does not take {request.method}; the routes are at /docs"
    return JSONResponse({"error": sentence}, error.status_code, headers=error.headers)


async def _bug(request: Request, error: Exception) -> Response:
    # Starlette raises the exception again afterwards, so the log has its traceback.
    return JSONResponse({"error": "the service failed; its log says why"}, status_code=500)


class Files(StaticFiles):
    """The page's scripts and style, under the same rules as the page."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(PAGE_HEADERS)
        return response


def build_app() -> Starlette:
    """The application; `open_model` comes before the first request."""
    app = Starlette(
        routes=[
            Route("/predict", predict, methods=["POST"]),
            Route("/predict_batch", predict_batch, methods=["POST"]),
            Route("/classify", classify, methods=["POST"]),
            Route("/model", model),
            Route("/docs.json", docs_json),
            Route("/docs", docs),
            Route("/samples", samples),
            Route(METRICS_PATH, prometheus),
            Route("/", page),
            Mount("/web", Files(directory=WEB)),
        ],
        middleware=[Middleware(Timed), Middleware(Access), Middleware(Guard)],
        exception_handlers={Refused: _refused, HTTPException: _http_error, Exception: _bug},
    )
    app.state.routes = {route.path for route in app.routes if isinstance(route, Route)}
    return app
