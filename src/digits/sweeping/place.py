"""The folder of a sweep, in which the same sweep, started again, goes on.

A sweep is the same when it was asked for in the same words, of the same configuration, code and
data, and into the same MLflow. What of it is done is what its folder holds: a training whose
`run.json` is there is not repeated.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from digits import configuration, settings
from digits.files import write_json
from digits.runs import tracking

SWEEPS = Path("multirun")
RUNS = Path("outputs")  # of one training each
NOTE = "sweep.json"
LOCK = ".lock"
_held: list[FileLock] = []  # for as long as this process lives
_run: list[Path] = []  # the folder of its one training, where it is no sweep


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a sweep's folder says of it."""

    digest: str  # of the sweep; empty where the folder was named, and may have been another's
    run_id: str | None = None  # its run in MLflow, which several folders have in a shared search
    worker: str = ""  # what no other folder has
    finished: bool = False  # nothing of it is missing


def with_folder(arguments: Sequence[str], *, shared: bool = False) -> list[str]:
    """The command line with the sweep's folder on it, where it is a sweep and names none itself.

    Raises ValueError where exactly this sweep is running already; `shared` says that several may.
    """
    words = [part for part in arguments if not part.startswith("-")]
    swept = {"-m", "--multirun"} & {*arguments} or "hydra.mode=MULTIRUN" in words
    if not swept or any(word.startswith("hydra.sweep.dir=") for word in words):
        return [*arguments]
    digest = _digest(words)
    folder = _unfinished(digest, shared=shared) or _new(digest)
    return [*arguments, f"hydra.sweep.dir={folder}"]


def read(folder: Path) -> Place | None:
    """What the folder says; None where it is no sweep's."""
    try:
        return Place(**json.loads((folder / NOTE).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def is_kept(folder: Path) -> bool:
    """Whether no other process can be at work in the folder while this one is."""
    return any(Path(lock.lock_file).resolve().parent == folder.resolve() for lock in _held)


def note(folder: Path, **changes: Any) -> Place:
    """Change what the folder says."""
    changed = replace(read(folder) or Place(digest=""), **changes)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / NOTE, asdict(changed))
    return changed


def leave_nothing() -> None:
    """Remove the folder of a sweep, or a training, that was refused before it began."""
    refused = sys.exception()
    if _run and isinstance(refused, SystemExit) and refused.code == 2:
        _remove_run(_run[0])
    for lock in _held:
        folder = Path(lock.lock_file).parent
        known = read(folder)
        if known and not known.run_id and {path.name for path in folder.iterdir()} <= {NOTE, LOCK}:
            shutil.rmtree(folder)


def run_in(folder: Path) -> None:
    """Note where one training, which is no part of a sweep, is to leave its results."""
    _run[:] = [folder]


def _remove_run(folder: Path) -> None:
    """Remove what Hydra made for one training, if that is all there is: its notes, an empty log."""
    if RUNS.resolve() not in folder.parents or not folder.exists():  # somebody's own
        return
    if all(path.name == ".hydra" or not path.stat().st_size for path in folder.iterdir()):
        shutil.rmtree(folder)


def _unfinished(digest: str, *, shared: bool) -> Path | None:
    """The newest folder in which this sweep stopped, kept for this process."""
    for path in sorted(SWEEPS.glob(f"*/{NOTE}"), reverse=True):
        place = read(path.parent)
        if place is None or place.digest != digest or place.finished:
            continue
        if _kept(path.parent):
            return path.parent
        if not shared:
            raise ValueError(
                f"exactly this sweep is running already, in {path.parent}; wait for it or stop it, "
                "then run the same command again"
            )
    return None


def _new(digest: str) -> Path:
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    number = 1
    while not _kept(folder := SWEEPS / (now if number == 1 else f"{now}_{number}")):
        number += 1  # another began in the same second
    note(folder, digest=digest)
    return folder


def _kept(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    _held.append(lock)
    return True


def _digest(words: Sequence[str]) -> str:
    digest = hashlib.sha256()
    paths = [settings.PARAMS, *sorted(settings.CONF.rglob("*.yaml"))]
    paths += sorted(Path("data").glob("*/prepared/data.json"))
    paths += sorted(Path("data").glob("*/synthetic.npz"))
    for path in paths:
        digest.update(path.read_bytes())
    more = [*sorted(words), configuration.code_digest(), tracking.tracking_uri()]
    digest.update(json.dumps(more).encode())
    return digest.hexdigest()
