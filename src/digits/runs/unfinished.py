"""What an unfinished training leaves: a folder that is one training's alone, and its MLflow run."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from digits.files import write_json


@contextlib.contextmanager
def only_one(scratch: Path, *, resume: bool) -> Iterator[None]:
    """Keep `scratch` to one training, and what it holds until that training has succeeded.

    Raises ValueError when the same configuration is being trained already: both would write the
    same checkpoint. Without `resume` what an interrupted training left is removed first.
    """
    lock = scratch.with_suffix(".lock")
    lock.parent.mkdir(exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            if not resume:
                forget(scratch)
            yield
            forget(scratch)
    except Timeout:
        raise ValueError(
            f"exactly this configuration is being trained already ({lock} is held); wait for it "
            "or stop it, then run the same command again"
        ) from None


def forget(scratch: Path) -> None:
    """Remove what there is to go on with."""
    shutil.rmtree(scratch, ignore_errors=True)


def read_run_id(scratch: Path) -> str | None:
    """The MLflow run of an interrupted training; None when there is none or it cannot be told."""
    try:
        run_id: str = json.loads(_state(scratch).read_text(encoding="utf-8"))["run_id"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return run_id


def write_run_id(scratch: Path, run_id: str) -> None:
    """Note the MLflow run that a training of this folder goes on with."""
    write_json(_state(scratch), {"run_id": run_id})


def _state(scratch: Path) -> Path:
    return scratch / "run.json"
