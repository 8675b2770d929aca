"""A store, models that were selected, and the gate that judges them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from digits import gate, settings
from digits.runs import recording, registry, tracking
from drawn import drawn_set
from serving_fixtures import DETAILS, PIXEL, ROOT, write_bundle
from stores import new_store

# Two models that answer random frames take about as long; a busy moment should not tell them apart.
GATE = replace(settings.load_params(ROOT / "params.yaml").gate, latency=50.0, wild=None)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "mlflow.db"))
    images_NHW, labels_N = drawn_set(300, seed=5)
    np.savez(tmp_path / "test.npz", images=images_NHW, labels=labels_N)
    prepared = tmp_path / "data/mnist/prepared"
    prepared.mkdir(parents=True)
    shutil.copyfile(tmp_path / "test.npz", prepared / "test.npz")
    (prepared / "data.json").write_text(json.dumps({"name": "mnist"}))
    return tracking.client()


def learnt() -> np.ndarray[Any, Any]:
    """Weights that read drawn digits: how each class differs from the mean."""
    images_NHW, labels_N = drawn_set(300, seed=6)
    pixels = images_NHW.reshape(len(images_NHW), -1).astype(np.float32)
    means = np.stack([pixels[labels_N == label].mean(axis=0) for label in range(10)], axis=1)
    return np.asarray((means - means.mean(axis=1, keepdims=True)) / 1e5, np.float32)


def select(
    name: str = "tiny",
    *,
    seed: int = 0,
    dataset: str = "mnist",
    stand_in: bool = False,
    temperature: float = 1.5,
    size: int = 28,
    **weights: Any,
) -> str:
    """A trained, evaluated and selected model; its run's id."""
    bundle = Path("models") / name / "bundle"
    write_bundle(bundle, seed=seed, name=name, dataset=dataset, size=size, **weights)
    meta = json.loads((bundle / "model.json").read_text())
    meta["lineage"]["fallback"] = stand_in
    meta["calibration"]["temperature"] = temperature
    (bundle / "model.json").write_text(json.dumps(meta))
    tags = {"model": name, "git_commit": "abc", "dataset": dataset}
    with recording.run(name=name, tags=tags) as run:
        run.log_files(bundle, "bundle")
        run.log_model(bundle, requirements=["onnxruntime"])
    version = registry.register(run.run_id, reason="selected")
    report = Path("reports") / name
    report.mkdir(parents=True, exist_ok=True)
    metrics = {"accuracy": 0.9, "mean_corrupted_accuracy": 0.5}
    (report / "metrics.json").write_text(json.dumps(metrics))
    (report / "details.json").write_text(json.dumps(DETAILS))
    (report / "samples.json").write_text(json.dumps({"samples": [{"png": PIXEL}]}))
    recording.add_to_run(
        run.run_id,
        metrics={},
        files=[report / f"{each}.json" for each in ("metrics", "details", "samples")],
        texts={},
        note="",
    )
    origin = {"run_id": run.run_id, "git_commit": "abc"}
    (bundle.parent / "run.json").write_text(json.dumps(origin))
    selection = {"model": name, "version": version, **origin, "candidates": [{"name": name}]}
    Path("reports/selected.json").write_text(json.dumps(selection))
    return run.run_id


def judge() -> dict[str, Any]:
    return gate.run(
        selected=Path("reports/selected.json"),
        models=Path("models"),
        reports=Path("reports"),
        test=Path("test.npz"),
        gate=GATE,
    )


def crowned() -> str:
    """The run of the champion, which its folder and the registry agree on when there is one."""
    return str(json.loads(Path("champion/champion.json").read_text())["run_id"])


def aliases(store: MlflowClient) -> dict[str, str]:
    found = store.get_registered_model(registry.MODEL).aliases
    return {name: str(version) for name, version in found.items()}
