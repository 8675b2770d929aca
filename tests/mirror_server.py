"""A web mirror on loopback that serves what a test tells it to, and notes what it was asked."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = bytes | int | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class MirrorServer:
    """`answers` by path: content, an HTTP status, or a function that answers by itself.

    A list is used up one answer a request, the last one for good.
    """

    address: str
    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.removeprefix("/")
        self.requests.append(path)
        answer = self.answers.get(path, 404)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer(handler)
        elif isinstance(answer, int):
            handler.send_error(answer)
        else:
            send(handler, answer)

    def stall_after(self, content: bytes, *, promised: int) -> Answer:
        """Send the content, then nothing more until the test ends."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            send(handler, content, promised=promised)
            handler.wfile.flush()
            self.closing.wait(60)

        return answer


def send(
    handler: BaseHTTPRequestHandler, content: bytes, *, promised: int | None = None, **headers: str
) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content) if promised is None else promised))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


@contextlib.contextmanager
def serving() -> Iterator[MirrorServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # The client is free to hang up in the middle; that is the client's test, not ours.
            with contextlib.suppress(ConnectionError):
                mirror.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    mirror = MirrorServer(address=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield mirror
    finally:
        mirror.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
