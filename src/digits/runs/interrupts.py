"""Signals that ask to stop, kept from landing where they would do harm."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ASK_TO_STOP = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[Any]:
    """Another handler in the block; yields those of before, by signal."""
    try:
        previous = {number: signal.signal(number, handler) for number in ASK_TO_STOP}
    except ValueError:  # not in the main thread, where no signal arrives
        yield {}
        return
    try:
        yield previous
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


@contextmanager
def deferred() -> Iterator[None]:
    """Let a signal take effect after the block; a second one does at once.

    An exception in the middle of a database's transaction would leave the database locked.
    """
    pending: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        pending.append(number)
        if len(pending) > 1:
            handler = previous[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)

    try:
        with _handled_by(note) as previous:
            yield
    finally:
        if pending:
            signal.raise_signal(pending[0])


@contextmanager
def as_keyboard() -> Iterator[None]:
    """Let a signal be a KeyboardInterrupt in the block, and what it is elsewhere right after it.

    For code in C++ that asks for signals and loses any other exception of their handlers.
    """
    pending: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        pending.append(number)
        raise KeyboardInterrupt

    try:
        with _handled_by(interrupt):
            yield
    finally:
        if pending:
            signal.raise_signal(pending[0])


@contextmanager
def ignored() -> Iterator[None]:
    """Let no signal stop what the block does: the last words of a run."""
    with _handled_by(signal.SIG_IGN):
        yield
