"""Who may ask, and what every answer tells the browser."""

import hmac
import os
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import limits
from .metrics import PATH as METRICS_PATH

TOKENS = "DIGITS_TOKENS"  # the environment variable: tokens with commas between them
# What a browser loads before anybody has given a token, the page and the description of the API;
# and what Prometheus does, as BentoML's probes are open too.
OPEN_PATHS = ("/", "/docs", "/docs.json", METRICS_PATH)
OPEN_FOLDERS = ("/web/",)
# Of every answer, unless the route says otherwise: read by no other site, shown in no frame, and
# taken for nothing but what it says it is.
HEADERS = {
    "content-security-policy": "frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def read_tokens() -> tuple[str, ...]:
    """The tokens in the environment; none means that everybody may ask.

    ValueError for a variable that is there and holds no token: an empty secret protects nothing.
    """
    given = os.environ.get(TOKENS)
    if given is None:
        return ()
    tokens = tuple(token.strip() for token in given.split(","))
    if not all(token.isascii() and token for token in tokens):
        raise ValueError(f"{TOKENS} must be ASCII tokens with commas between them; one is not")
    return tokens


class Access:
    """ASGI middleware: 401 for who brings no token where tokens are asked for; safe headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tokens = [token.encode() for token in read_tokens()]
        self._worked_s = time.process_time()  # by the last answer that closed its connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if time.process_time() - self._worked_s >= limits.WORK_TO_A_CLOSE_S:
                    self._worked_s = time.process_time()
                    headers["connection"] = "close"
            await send(message)

        app = self._app if self._may_pass(scope) else _refusal
        await app(scope, receive, with_headers)

    def _may_pass(self, scope: Scope) -> bool:
        path = scope["path"]
        if not self._tokens or path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
            return True
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        token = given.strip().encode("utf-8", "surrogateescape")
        # Each is compared, in a time that does not tell how much of it was right.
        same = [hmac.compare_digest(token, known) for known in self._tokens]
        return any(same)


async def _refusal(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"WWW-Authenticate": "Bearer"}
    refused = JSONResponse({"error": no_token()}, status_code=401, headers=headers)
    await refused(scope, receive, send)


def no_token() -> str:
    """What is told to who brings none."""
    return "this service asks for a token: send the header 'Authorization: Bearer TOKEN'"
