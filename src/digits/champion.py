"""The champion: the model that is served, in a folder of its own until a better one comes.

`bundle/` as trained, `champion.json` (where it comes from, and its scores), `samples.json` (test
images for the page) and `verdict.json` (the last model that wanted its place, and what became of
it). DVC tracks the folder and never deletes it.
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from digits.files import read_json, replacing_folder, write_json
from digits.judging import Verdict

FOLDER = Path("champion")
PENDING = Path("champion.pending.json")  # a change by hand that is not carried out yet


def read(folder: Path = FOLDER) -> dict[str, Any] | None:
    """What `champion.json` says: name, version, run_id, git_commit, metrics; None without one."""
    if not (folder / "champion.json").exists():
        return None
    return read_json(folder / "champion.json", stage="gate")


def crown(
    bundle: Path,
    *,
    origin: dict[str, Any],
    samples: dict[str, Any],
    verdict: dict[str, Any],
    folder: Path = FOLDER,
) -> None:
    """Put a model in the champion's place, whole or not at all."""
    with replacing_folder(folder) as beside:
        shutil.copytree(bundle, beside / "bundle")
        write_json(beside / "champion.json", origin)
        write_json(beside / "samples.json", samples)
        write_json(beside / "verdict.json", verdict)


def record(verdict: dict[str, Any], folder: Path = FOLDER) -> None:
    """Note what became of a model that is not the champion."""
    write_json(folder / "verdict.json", verdict)


def described(verdict: Verdict, *, challenger: dict[str, Any], champion: Any) -> dict[str, Any]:
    """A verdict for JSON: who was compared with whom, and all of what was found."""
    found = asdict(verdict)
    return {"selected": challenger, "champion": champion, **found, "guards": [*found["guards"]]}
