"""Refuse requests beyond what a worker should hold, before a byte of their bodies is read."""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from . import limits
from .metrics import PATH as METRICS_PATH


class Guard:
    """ASGI middleware: at most `limits.MAX_CONCURRENT` requests at once, 503 for others.

    BentoML's probes do not pass here, and the metrics are let through: whether the service is well
    is answered always.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._num_open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == METRICS_PATH:
            await self._app(scope, receive, send)
            return
        if self._num_open >= limits.MAX_CONCURRENT:
            headers = {"Retry-After": str(limits.RETRY_AFTER_S)}
            refused = JSONResponse({"error": too_many()}, status_code=503, headers=headers)
            await refused(scope, receive, send)
            return
        self._num_open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._num_open -= 1


def too_many() -> str:
    """What is told to who is refused."""
    return (
        f"{limits.MAX_CONCURRENT} requests are being answered already; "
        f"send this one again in {limits.RETRY_AFTER_S} s"
    )
