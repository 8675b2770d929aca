"""What MLflow could not be told: kept in unsent/RUN_ID/ until it can, by `digits sync` or a stage.

`calls.json` has the calls of `digits.runs.writing` in their order, with all they were called with;
files and folders among it are copied beside it. The calls may be repeated, so whatever is killed
half way is done again from the start, and the folder goes when all of it is in MLflow.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from digits.files import replacing, replacing_folder
from digits.runs import tracking, writing

FOLDER = Path("unsent")
# Each by its name and in what it is counted.
CALLS: dict[str, tuple[Callable[..., None], str]] = {
    "log_metrics": (writing.log_metrics, "metrics"),
    "log_files": (writing.log_files, "files"),
    "log_model": (writing.log_model, "model"),
    "set_tag": (writing.set_tag, "tags"),
    "end": (writing.end, "state"),
}


@dataclass(frozen=True)
class Sent:
    """What a run was sent."""

    run_id: str
    num: dict[str, int]  # of each of what CALLS counts
    state: str | None  # how the run ended; None where that was known, or is not

    def __str__(self) -> str:
        what = ", ".join(f"{num} {kind}" for kind, num in self.num.items() if kind != "state")
        state = f"; it is {self.state}" if self.state else ""
        return f"run {self.run_id}: sent {what or 'how it ended'}{state}"


def keep(run_id: str, call: str, **arguments: Any) -> None:
    """Keep a call of `writing` for later, with a copy of the file or folder at `path`."""
    with _alone():
        calls = _read(run_id)
        if "path" in arguments:
            path: Path = arguments["path"]
            with replacing_folder(FOLDER / run_id / str(len(calls))) as copied:
                if path.is_dir():
                    shutil.copytree(path, copied / path.name)
                else:
                    shutil.copyfile(path, copied / path.name)
            arguments["path"] = f"{len(calls)}/{path.name}"
        with replacing(_calls(run_id)) as beside:
            # A loss may be NaN.
            beside.write_text(json.dumps([*calls, {"call": call, **arguments}]), encoding="utf-8")


def send(run_id: str) -> Sent | None:
    """Make all calls that were kept for a run, and forget them.

    None where there are none, or none of a run that this store knows. TrackingError when it cannot
    be used: then all is kept.
    """
    if not holds(run_id):
        return None
    with _alone():
        calls = _read(run_id)
        if not calls or not tracking.exists(run_id):
            return None
        num: Counter[str] = Counter()
        for kept in calls:
            arguments = dict(kept)
            call, kind = CALLS[arguments.pop("call")]
            if "path" in arguments:
                arguments["path"] = FOLDER / run_id / arguments["path"]
            call(run_id, **arguments)
            num[kind] += _num(kind, arguments)
        _remove(run_id)
    ended = [kept["status"] for kept in calls if kept["call"] == "end"]
    return Sent(run_id, num=dict(num), state=ended[-1] if ended else None)


def forget(run_id: str) -> None:
    """Drop what was kept for a run."""
    if holds(run_id):
        with _alone():
            _remove(run_id)


def holds(run_id: str) -> bool:
    """Whether something is kept for a run."""
    return _calls(run_id).exists()


def runs() -> list[str]:
    """The runs for which something is kept, the one that was added to last at the end."""
    kept = sorted(FOLDER.glob("*/calls.json"), key=lambda path: path.stat().st_mtime)
    return [path.parent.name for path in kept]


def _num(kind: str, arguments: dict[str, Any]) -> int:
    if kind == "metrics":
        return len(arguments["metrics"])
    if kind == "files" and arguments["path"].is_dir():
        return sum(path.is_file() for path in arguments["path"].rglob("*"))
    return 1


def _calls(run_id: str) -> Path:
    return FOLDER / run_id / "calls.json"


def _read(run_id: str) -> list[dict[str, Any]]:
    if not holds(run_id):
        return []
    calls: list[dict[str, Any]] = json.loads(_calls(run_id).read_text(encoding="utf-8"))
    return calls


def _remove(run_id: str) -> None:
    _calls(run_id).unlink(missing_ok=True)  # first: without it the rest is nothing
    shutil.rmtree(FOLDER / run_id, ignore_errors=True)


def _alone() -> FileLock:
    """One process at a time: a training adds while `digits sync` sends."""
    FOLDER.mkdir(exist_ok=True)
    return FileLock(FOLDER / ".lock")
