"""Where a result comes from: commit, packages, and the data DVC knows."""

import contextlib
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

LOCK = Path("dvc.lock")
# What the pipeline and the benchmarks themselves are writing just now is no change to the code.
RESULTS = (
    ":!dvc.lock",
    ":!reports",
    ":!bench/*.json",
    ":!docs/accuracy.md",
    ":!docs/time-to-accuracy.md",
)
TRACKED_PACKAGES = (
    "digits",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "hydra-core",
    "mlflow",
    "dvc",
    "onnx",
    "onnxruntime",
    "numpy",
)


def git_commit() -> str | None:
    """The commit checked out, with `-dirty` when tracked files differ from it; None outside git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "-uno", "--", ".", *RESULTS)
    except FileNotFoundError:
        return None
    return (f"{commit}-dirty" if changed else commit) or None


def package_versions() -> dict[str, str]:
    """The installed version of each package that shapes a result."""
    versions = {}
    for package in TRACKED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def lock_hashes(lock: Path = LOCK) -> dict[str, str]:
    """Path → hash of every output that dvc.lock knows; empty before the first `dvc repro`."""
    outs = [out for stage in _locked(lock).values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs}


def lock_params(stage: str, lock: Path = LOCK) -> dict[str, Any]:
    """What a stage that ran read of params.yaml; empty before the first `dvc repro`."""
    params: dict[str, Any] = _locked(lock).get(stage, {}).get("params", {}).get("params.yaml", {})
    return params


def _locked(lock: Path) -> dict[str, Any]:
    if not lock.exists():
        return {}
    stages: dict[str, Any] = (yaml.safe_load(lock.read_text("utf-8")) or {}).get("stages", {})
    return stages
