"""What MLflow's pages tell a run by: its name and its tags."""

from dataclasses import dataclass
from typing import Any

from digits.runs import lineage

LONGEST = 250  # characters of a run's name; PostgreSQL takes no more


@dataclass(frozen=True, kw_only=True)
class Label:
    """What MLflow's pages tell a run by, which has no part in its result."""

    name: str
    tags: dict[str, str]


def fitting(name: str) -> str:
    """A run's name, cut where MLflow's databases would refuse it."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def run_name(model: str, seed: int, overrides: list[str]) -> str:
    """The model and all that was asked for on the command line but where to write."""
    asked = [part for part in overrides if not part.startswith(("model=", "out=", "resume="))]
    if not any(part.startswith("seed=") for part in asked):
        asked.insert(0, f"seed={seed}")
    return fitting(" ".join([model, *asked]))


def of_training(config: dict[str, Any], data: dict[str, Any]) -> dict[str, str]:
    """Where a training comes from: commit, images, packages, and what DVC knows of its inputs."""
    # Of what this training read; all others are in dvc.lock, which is logged as a file.
    hashes = {
        f"dvc.{path}": digest
        for path, digest in lineage.lock_hashes().items()
        if path.startswith(config["prepared"])
    }
    packages = {f"version.{name}": number for name, number in lineage.package_versions().items()}
    return {
        "git_commit": lineage.git_commit() or "",
        "data_digest": data["digest"],
        "dataset": data["name"],
        "fallback": str(data["fallback"]).lower(),
        "model": config["model"]["name"],
        **hashes,
        **packages,
    }
