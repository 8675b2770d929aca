"""How a stage or a command ends when it cannot go on, or is asked not to: with one sentence."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from digits.settings import PARAMS, Mistaken


class Mistake(click.ClickException):
    """What a command was asked for is not there: one line, and the status of a wrong usage."""

    exit_code = 2


def expect_project(otherwise: str = "") -> None:
    """Raise Mistake where the current folder is not the project's; `otherwise` is what may help."""
    if not PARAMS.exists():
        here, more = Path.cwd(), f", or {otherwise}" if otherwise else ""
        raise Mistake(f"{here} is not the project's folder, it has no {PARAMS}; go there{more}")


@contextmanager
def explained(stage: str, *foreseen: type[Exception]) -> Iterator[None]:
    """Turn ValueError, OSError and what else is foreseen into a sentence and exit status 1.

    Of a Mistaken the status is 2: not the stage failed, but what was asked for is not there.
    Ctrl-C becomes a sentence and exit status 130: files are replaced whole, so a stage that is
    stopped has changed nothing, or all it was to change.
    """
    expected: tuple[type[Exception], ...] = (ValueError, OSError, *foreseen)
    try:
        yield
    except Mistaken as error:
        print(f"{stage}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except expected as error:
        raise SystemExit(f"{stage}: {error}") from None
    except KeyboardInterrupt:
        print(f"{stage}: stopped; `dvc repro` goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
