"""What a sweep's folder says of its trainings, whether MLflow can be asked or not."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from digits.runs.sweeps import Child
from digits.sweeping import place

ERROR = "error.txt"  # why a training failed, in its folder
ASKED = Path(".hydra/overrides.yaml")  # in a training's folder, by Hydra


@dataclass(frozen=True)
class Failure:
    """A training that did not come to its end."""

    overrides: tuple[str, ...]
    sentence: str  # why


def read(out: Path) -> dict[str, Any] | None:
    """What a training left in its folder; None where it has not come to its end."""
    try:
        run = json.loads((out / "run.json").read_text(encoding="utf-8"))
        meta = json.loads((out / "bundle" / "model.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return {**run, **meta}


def trained(folder: Path) -> list[Child]:
    """The trainings of a sweep that came to their end, in the order in which they did."""
    known = place.read(folder)
    named = known is None or not known.digest
    # A folder that was named may hold another sweep's trainings, which are older than this note.
    since_s = (folder / place.NOTE).stat().st_mtime if named else 0.0
    ended = {path: path.stat().st_mtime for path in folder.rglob("run.json")}
    children = []
    for path in sorted(ended, key=lambda path: ended[path]):
        result = read(path.parent)
        if result is not None and ended[path] >= since_s:
            children.append(
                Child(
                    run_id=result["run_id"],
                    status="FINISHED",
                    overrides=_asked(path.parent),
                    val_accuracy=result["validation"]["accuracy"],
                    num_parameters=result["num_parameters"],
                    seed=str(result["lineage"]["seed"]),
                    train_s=result["train_s"],
                )
            )
    return children


def failed(folder: Path) -> list[Failure]:
    """The trainings of a sweep that failed."""
    return [
        Failure(_asked(path.parent), " ".join(path.read_text(encoding="utf-8").split()))
        for path in sorted(folder.rglob(ERROR))
    ]


def forget_failures(folder: Path) -> None:
    """Where all that failed is tried again."""
    for path in folder.rglob(ERROR):
        path.unlink()


def _asked(own: Path) -> tuple[str, ...]:
    """What a training was asked for; its folder's name where Hydra was told to keep nothing."""
    try:
        return tuple(yaml.safe_load((own / ASKED).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return (own.name,)
