"""When a signal is heard, and as which exception."""

import signal
from typing import Any

import pytest

from digits.runs import interrupts


def test_a_signal_in_the_middle_of_a_write_waits_for_its_end_and_a_second_does_not() -> None:
    done: list[int] = []

    def write(*, interrupted: int) -> None:
        done.clear()
        with interrupts.deferred():
            for number in range(interrupted):
                signal.raise_signal(signal.SIGINT)
                done.append(number)

    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            write(interrupted=times)
        assert done == [0]
    with interrupts.ignored():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_is_a_keyboard_interrupt_where_no_other_exception_gets_through() -> None:
    """As in Ray, whose code in C++ asks for signals."""

    def stop(number: int, _: Any) -> None:
        raise SystemExit(number)

    def wait() -> None:
        with interrupts.as_keyboard(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(SystemExit) as stopped:
            wait()
        assert stopped.value.code == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)
