"""The champion: the model that is served, in a folder of its own until a better one comes.

`bundle/` as trained, `champion.json` (where it comes from, and its scores), `details.json` (those
by class and by corruption), `samples.json` (test images for the page) and `verdict.json` (the last
model that wanted its place, and what became of it). DVC tracks the folder and never deletes it.
"""

import hashlib
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from digits.files import read_json, recover_folder, replacing_folder, write_json
from digits.judging import Verdict
from digits.runs import finding, history, registry

FOLDER = Path("champion")
BUNDLE = FOLDER / "bundle"
PENDING = Path("champion.pending.json")  # a change by hand that is not carried out yet
KEPT = Path(".champion.kept")  # while a change is carried out
# What every answer of the service says, and what a verdict needs.
NAMED = ("name", "version", "run_id", "git_commit")
KEYS = {*NAMED, "dataset", "stand_in", "digest", "test_md5", "taken_back", "metrics"}
# Of model.json, what makes an answer besides the network.
ANSWERING = ("classes", "input", "calibration", "rejection")


def read() -> dict[str, Any] | None:
    """What `champion.json` says, with the keys in KEYS; None where there is no champion.

    ValueError says what to do about a damaged one.
    """
    recover_folder(FOLDER)
    if not FOLDER.exists():
        return None
    try:
        content = read_json(FOLDER / "champion.json", stage="gate")
        if missing := KEYS - content.keys():
            raise ValueError(f"{FOLDER / 'champion.json'} has no {', '.join(sorted(missing))}")
        if not (BUNDLE / "model.onnx").exists():
            raise ValueError(f"{BUNDLE} has no model.onnx")
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(
            f"the champion is damaged: {str(error).partition(';')[0]}; `dvc checkout champion` "
            f"brings back the one of dvc.lock, without {FOLDER}/ the one of MLflow is taken"
        ) from None
    return content


def of_the_team() -> dict[str, Any] | None:
    """The champion that MLflow knows, brought here where this checkout has another one or none.

    A clone, or a checkout of last week, must not dethrone what others have promoted since. Without
    one in MLflow, this checkout's; one that is gone from there counts as none, and is warned of.
    ValueError where this version cannot read it.
    """
    ruling, known = read(), registry.champion()
    if known is None or (ruling and ruling["run_id"] == known[1]):
        return ruling
    version, run_id = known
    if finding.bundle(run_id) is None:
        told = f"run {run_id[:8]} has no bundle there any more, and so it counts as none"
        print(f"version {version} is MLflow's champion, but its {told}", file=sys.stderr)
        return ruling
    # Whose run was deleted for good is not trained again to the same bytes by accident.
    runs = filter(None, map(registry.run_of, history.taken_back(history.read())))
    digests = sorted(digest(bundle) for bundle in map(finding.bundle, runs) if bundle)
    crown_run(run_id, version=version, taken_back=digests, why="brought from MLflow")
    return read()


def crown(
    bundle: Path,
    *,
    origin: dict[str, Any],
    details: dict[str, Any],
    samples: dict[str, Any],
    verdict: dict[str, Any],
) -> None:
    """Put a model in the champion's place, whole or not at all; `origin` has the keys in KEYS."""
    with replacing_folder(FOLDER) as beside:
        shutil.copytree(bundle, beside / "bundle")
        write_json(beside / "champion.json", origin)
        write_json(beside / "details.json", details)
        write_json(beside / "samples.json", samples)
        write_json(beside / "verdict.json", verdict)


def crown_run(run_id: str, *, version: int, taken_back: list[str], why: str) -> None:
    """Put the model of a run in MLflow in the champion's place.

    ValueError where the run has no bundle, or one that this version does not read.
    """
    bundle = finding.bundle(run_id)
    if bundle is None:
        raise ValueError(f"run {run_id[:8]} has no bundle in MLflow; train it again")
    meta = read_json(bundle / "model.json", stage="gate")
    if missing := {"dataset", "fallback"} - meta.get("lineage", {}).keys():
        raise ValueError(f"{bundle / 'model.json'} says nothing of {', '.join(sorted(missing))}")
    tags = finding.tags(run_id)
    named = {
        "name": meta["name"],
        "version": version,
        "run_id": run_id,
        "git_commit": tags.get("git_commit") or None,
    }
    tested = [tags[key] for key in tags if key.startswith("dvc.") and key.endswith("/test.npz")]
    origin = {
        **named,
        "dataset": meta["lineage"]["dataset"],
        "stand_in": meta["lineage"]["fallback"],
        "digest": digest(bundle),
        "test_md5": tested[0] if tested else None,
        "taken_back": taken_back,
        "metrics": finding.artifact(run_id, "metrics.json"),
    }
    crown(
        bundle,
        origin=origin,
        details=finding.artifact(run_id, "details.json"),
        samples=finding.artifact(run_id, "samples.json") or {"samples": []},
        verdict=described(Verdict(promoted=True, reason=why), selected=named, champion=None),
    )


def keep() -> None:
    """Keep a copy of the champion, an empty one where there is none, unless one is kept already."""
    if not KEPT.exists():
        with replacing_folder(KEPT) as beside:
            if FOLDER.exists():
                shutil.copytree(FOLDER, beside, dirs_exist_ok=True)


def restore() -> None:
    """Put the copy that was kept in the champion's place; where none is kept all stays."""
    if (KEPT / "champion.json").exists():
        with replacing_folder(FOLDER) as beside:
            shutil.copytree(KEPT, beside, dirs_exist_ok=True)
    elif KEPT.exists():
        _remove(FOLDER)
    forget()


def forget() -> None:
    """Remove the copy."""
    _remove(KEPT)


def _remove(folder: Path) -> None:
    """Remove a folder at once, so that after a kill no half of it is taken for the whole."""
    aside = Path(f".{folder.name.removeprefix('.')}.gone")
    shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed
    if folder.exists():
        folder.rename(aside)
        shutil.rmtree(aside)


def record(verdict: dict[str, Any]) -> None:
    """Note what became of a model that is not the champion."""
    write_json(FOLDER / "verdict.json", verdict)


def read_verdict() -> dict[str, Any]:
    """The last verdict; empty where there is none."""
    path = FOLDER / "verdict.json"
    return read_json(path, stage="gate") if path.exists() else {}


def described(
    verdict: Verdict, *, selected: dict[str, Any], champion: dict[str, Any] | None
) -> dict[str, Any]:
    """A verdict for JSON: who was compared with whom, and all of what was found."""
    sides = [one and {key: one[key] for key in NAMED} for one in (selected, champion)]
    found = asdict(verdict)
    return {"selected": sides[0], "champion": sides[1], **found, "guards": [*found["guards"]]}


def digest(bundle: Path) -> str:
    """What tells models apart that may answer otherwise: network, classes, calibration."""
    meta = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
    answering = json.dumps({key: meta.get(key) for key in ANSWERING}, sort_keys=True)
    return hashlib.sha256((bundle / "model.onnx").read_bytes() + answering.encode()).hexdigest()
