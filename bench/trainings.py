"""Trainings that benchmarks are made of: each run once, scored on the test images, written down."""

import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from digits import configuration, evaluate
from digits.files import write_json
from digits.reading.predictor import Predictor
from digits.runs.labels import Label
from digits.training import read_data_facts, run
from machine import describe


class Results:
    """The rows of a benchmark's file, replaced whole after each training: nothing is lost.

    A row is known by `name` and `seed`, and by a fingerprint of all that decides its result.
    """

    def __init__(self, path: Path, command: str) -> None:
        self._path = path
        self._command = command
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            self.rows = json.loads(path.read_text())["rows"]

    def add(
        self, name: str, seed: int, fingerprint: str, measure: Callable[[], dict[str, Any]]
    ) -> None:
        """Measure, unless a row with this fingerprint is there; a row of before is replaced."""
        if any(row["fingerprint"] == fingerprint for row in self.rows):
            print(f"{name} seed={seed}: measured already")
            return
        row = {"name": name, "seed": seed, "fingerprint": fingerprint, **measure()}
        row["machine"] = describe()
        others = [other for other in self.rows if (other["name"], other["seed"]) != (name, seed)]
        self.rows = sorted([*others, row], key=lambda row: (row["name"], row["seed"]))
        write_json(self._path, {"command": self._command, "rows": self.rows})
        print(f"{name} seed={seed}: {row['accuracy']:.2%} of the test images", flush=True)

    def of(self, name: str) -> list[dict[str, Any]]:
        """The rows of one name, a row a seed."""
        return [row for row in self.rows if row["name"] == name]


def fingerprint(config: dict[str, Any]) -> str:
    """A digest of what decides a training's result."""
    facts = read_data_facts(Path(config["prepared"]))
    return configuration.training_fingerprint(config, data_digest=facts["digest"])


def test_set(config: dict[str, Any]) -> tuple[Any, Any]:
    """Images (N, H, W) and labels (N)."""
    with np.load(Path(config["prepared"]) / "test.npz") as arrays:
        return arrays["images"], arrays["labels"]


def train_and_score(config: dict[str, Any], *, label: str, corrupted: bool) -> dict[str, Any]:
    """Train as `python -m digits.train` does and score the bundle on the test images."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        trained = run(config, out=out, resume=True, label=Label(name=label, tags={}))
        predictor = Predictor.open(out / "bundle")
        images_NHW, labels_N = test_set(config)
        scored = evaluate.score(labels_N, predictor.probabilities(images_NHW), predictor.classes)
        robust = evaluate.score_corrupted(predictor, images_NHW, labels_N) if corrupted else {}
    return {
        "data": config["data"],
        "num_images": scored["num_images"],
        **{key: scored[key] for key in ("accuracy", "nll", "ece")},
        **scored["accuracy_by_half"],
        **{key: robust[key] for key in ("mean_corrupted_accuracy",) if corrupted},
        "val_accuracy": trained["validation"]["accuracy"],
        "num_parameters": trained["num_parameters"],
        "train_s": trained["train_s"],
        "trainer": trained["trainer"],
        "commit": trained["git_commit"],
    }


def spread(values: list[float], *, digits: int, signed: bool = False) -> str:
    """Mean ± sample standard deviation, to so many decimals; the mean alone of a single value."""
    mean = f"{statistics.fmean(values):{'+' if signed else ''}.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean
