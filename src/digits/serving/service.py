"""The service that `bentoml serve` starts, from the checkout or from a built Bento."""

import gc
import logging
from pathlib import Path
from typing import Any

import bentoml
from bentoml._internal.server.http import traffic
from bentoml.exceptions import BentoMLException
from starlette.types import ASGIApp, Receive, Scope, Send

from ..reading.predictor import Predictor
from . import limits
from .access import read_tokens
from .app import build_app, open_model
from .guard import drop_who_does_not_read
from .models import Model
from .served import is_released, pin, read_lineage, read_others, read_samples, stored_tag

try:
    read_tokens()  # says what is wrong with them now, not at the first request
except ValueError as error:
    raise BentoMLException(str(error)) from None
app = build_app()
pin()


# What BentoML answers: its probes, and the files of the page at /docs.
PROBES = ("/livez", "/readyz", "/healthz")
PAGE_FILES = "/static_content/"


class Shortcut:
    """ASGI middleware: all other requests go straight to our application.

    BentoML would first try each of its own routes, and mounts ours behind them: a tenth of what a
    frame takes. What is in neither would get no JSON.
    """

    def __init__(self, bentoml_app: ASGIApp) -> None:
        self._bentoml_app = bentoml_app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        ours = scope["type"] == "http" and path not in PROBES and not path.startswith(PAGE_FILES)
        await (app if ours else self._bentoml_app)(scope, receive, send)


def untimed(app: ASGIApp, timeout: float) -> ASGIApp:
    """In place of BentoML's time limit for whole requests, which it has no setting to turn off.

    It counts the time in which a body still arrives, and leaves 0.8 kB behind for each request
    until its time has come, answered or not. `guard` has ours.
    """
    return app


# BentoML looks it up when it makes its application of the service, after this.
traffic.TimeoutMiddleware = untimed


@bentoml.service(
    name="digits",
    workers=limits.WORKERS,
    http={"host": "127.0.0.1"},  # unless --host or BENTOML_HOST says otherwise
    # No log line for each request, which costs time: /metrics counts them.
    logging={"access": {"enabled": False}},
    # Nobody takes its spans unless told to (docs/decisions.md), and they cost as much.
    tracing={"excluded_urls": ".*"},
    metrics={"enabled": False},  # its counts of requests; /metrics has ours
)
@bentoml.asgi_app(app, path="/")
class Digits:
    """Reads handwritten digits."""

    model: Any = bentoml.models.BentoModel(stored_tag())

    def __init__(self) -> None:
        lineage = {**read_lineage(), "released": is_released()}
        selected = Model(Predictor.open(Path(self.model.path)), lineage)
        open_model(app, selected, others=read_others(), samples=read_samples())
        self._selected = selected
        drop_who_does_not_read()
        # What was imported stays until the end. Python's collector would look through all of it
        # again and again, for 80 to 160 ms at a time in which nobody is answered; and of the rest,
        # hardly anything that has become old is garbage.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*gc.get_threshold()[:2], 100)
        logging.getLogger("bentoml.service").info(
            "answering with %s (%s), run %s%s%s",
            lineage["name"],
            lineage["tag"],
            lineage["run_id"],
            ", released with the project" if lineage["released"] else "",
            f", learnt from {lineage['dataset']}, a stand-in" if lineage.get("fallback") else "",
        )

    def __is_ready__(self) -> bool:
        """What /readyz says."""
        return self._selected.answers()


Digits.add_asgi_middleware(Shortcut)  # type: ignore[attr-defined] # BentoML made it a Service
