"""One command at a time changes the champion, its place in MLflow, and what is packaged of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

_LOCK = FileLock(".champion.lock", timeout=0)  # its holder may take it again


@contextmanager
def alone() -> Iterator[None]:
    """ValueError for who comes second, until the first is done."""
    try:
        with _LOCK:
            yield
    except Timeout:
        raise ValueError(
            "another command changes the champion just now; try again when it has"
        ) from None
