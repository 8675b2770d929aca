"""Signals that ask to stop, kept from landing where they would do harm."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASK_TO_STOP = (signal.SIGINT, signal.SIGTERM)


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
        previous = {number: signal.signal(number, note) for number in ASK_TO_STOP}
    except ValueError:  # not in the main thread, where no signal arrives
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
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
        previous = {number: signal.signal(number, interrupt) for number in ASK_TO_STOP}
    except ValueError:  # not in the main thread, where no signal arrives
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if pending:
            signal.raise_signal(pending[0])


@contextmanager
def ignored() -> Iterator[None]:
    """Let no signal stop what the block does: the last words of a run."""
    try:
        previous = {number: signal.signal(number, signal.SIG_IGN) for number in ASK_TO_STOP}
    except ValueError:  # not in the main thread, where no signal arrives
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
