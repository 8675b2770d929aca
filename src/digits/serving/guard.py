"""Refuse requests beyond what a worker should hold, and give up those that take too long."""

import asyncio
import os
import socket

import psutil
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import limits
from .metrics import PATH as METRICS_PATH


class Guard:
    """ASGI middleware: at most `limits.MAX_CONCURRENT` requests at once, 503 for others.

    They are refused before a byte of their bodies is read. BentoML's probes do not pass here, and
    the metrics are let through: whether the service is well is answered always. A request that is
    not answered within `limits.ANSWER_S` gets a 504.
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
            await _in_time(self._app, scope, receive, send)
        finally:
            self._num_open -= 1


async def _in_time(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Await the application, and answer in its place if it takes too long to begin to."""
    now = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(limits.ANSWER_S) as limit:

            async def hear() -> Message:
                message = await receive()
                limit.reschedule(now() + limits.ANSWER_S)
                return message

            async def answer(message: Message) -> None:
                limit.reschedule(None)
                await send(message)

            await app(scope, hear, answer)
    except TimeoutError:
        if not limit.expired():
            raise
        await JSONResponse({"error": too_long()}, status_code=504)(scope, receive, send)


def drop_who_does_not_read() -> None:
    """Let the kernel end connections whose client takes nothing of its answer.

    They would keep their places among the requests, and a worker that is to stop from doing so.
    Set on the socket that this worker accepts from: what it accepts inherits it. Linux only.
    """
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    for known in psutil.Process().net_connections("tcp"):
        if known.status == psutil.CONN_LISTEN:
            with socket.socket(fileno=os.dup(known.fd)) as listening:
                milliseconds = 1000 * limits.UNREAD_S
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def too_many() -> str:
    """What is told to who is refused."""
    return (
        f"{limits.MAX_CONCURRENT} requests are being answered already; "
        f"send this one again in {limits.RETRY_AFTER_S} s"
    )


def too_long() -> str:
    """What is told to who has waited in vain."""
    return (
        f"there was no answer within {limits.ANSWER_S:.0f} s; "
        "send a smaller request, or this one again later"
    )
