"""A tiny project to train in, and trainings in processes of their own that start without delay.

Importing torch, Lightning and MLflow takes ten seconds, so one process imports them and every
training is forked from it: the real `main`, with its own signals, limits, output and exit status.
"""

import hashlib
import json
import multiprocessing.forkserver
import os
import resource
import shutil
import sys
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn import drawn_set
from stores import mlflow_client, new_store

ROOT = Path(__file__).parent.parent
PRELOADED = [
    "digits.learning.session",
    "digits.reporting.figures",
    "mlflow.data",
    "mlflow.onnx",
    # What these import when they are first used.
    "git",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.system_metrics.system_metrics_monitor",
    "mlflow.tracing.processor.base_mlflow",
    "onnxscript.evaluator",
    "s3fs",
    "sqlalchemy.dialects.sqlite",
    "torch.export._trace",
    "torch.onnx._internal.exporter._compat",
    "warm",
]
# Small enough to take a second, with batch statistics and augmentation as the real one.
TINY = (
    "model=cnn",
    "model.network.layers=[{conv:8,kernel:5,stride:2},{conv:8},{pool:2},{conv:8},{pool:2}]",
    "training.epochs=4",
    "training.batch_size=16",
    "seed=1",
)
PATIENCE_S = 120
forked = multiprocessing.get_context("forkserver")
forked.set_forkserver_preload(PRELOADED)


def begin_loading() -> None:
    """Start the process that trainings are forked from, unless it is there."""
    with pytest.MonkeyPatch.context() as patch:
        where = (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))  # `warm` is in the first
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, where)))
        multiprocessing.forkserver.ensure_running()


@dataclass
class Training:
    """A training in a process of its own."""

    process: ForkServerProcess
    stdout: Path
    stderr: Path

    def ended(self) -> int:
        """Wait for its exit status; negative for a signal that it did not survive."""
        self.process.join(PATIENCE_S)
        assert self.process.exitcode is not None, f"still running\n{self.said()}"
        return self.process.exitcode

    def reached(self, text: str) -> "Training":
        """Wait until it has printed a text."""
        until_s = time.monotonic() + PATIENCE_S
        while text not in self.stdout.read_text():
            assert self.process.is_alive(), f"ended before {text!r}\n{self.said()}"
            assert time.monotonic() < until_s, f"no {text!r}\n{self.said()}"
            time.sleep(0.005)
        return self

    def send(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def signalled(self, number: int) -> int:
        self.send(number)
        return self.ended()

    def said(self) -> str:
        return self.stdout.read_text() + self.stderr.read_text()

    def complaint(self) -> str:
        """The one line on the standard error output."""
        lines = self.stderr.read_text().splitlines()
        assert len(lines) == 1, self.said()
        return lines[0]


@dataclass
class Project:
    """A folder with conf/, params.yaml and prepared images."""

    folder: Path
    started: int = 0

    def train(self, *overrides: str, largest_file: int | None = None, **env: str) -> Training:
        """Start `python -m digits.train OVERRIDES` in the project's folder."""
        self.started += 1
        logs = [self.folder / f"{self.started}.{name}" for name in ("out", "err")]
        for log in logs:
            log.touch()
        process = forked.Process(
            target=_train, args=(str(self.folder), overrides, env, *map(str, logs), largest_file)
        )
        process.start()
        return Training(process, *logs)

    def bundle(self, out: str) -> dict[str, bytes]:
        """The files of the bundle in an output folder; empty where there is none."""
        folder = self.folder / out / "bundle"
        return {path.name: path.read_bytes() for path in folder.glob("*")}

    def run_id(self, out: str) -> str:
        run_id: str = json.loads((self.folder / out / "run.json").read_text())["run_id"]
        return run_id

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"


def make_project(folder: Path, *, num_train: int = 640, num_val: int = 100) -> Project:
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    train_images, train_labels = drawn_set(num_train, seed=0)
    val_images, val_labels = drawn_set(num_val, seed=1)
    prepared = folder / "data/mnist/prepared"
    prepared.mkdir(parents=True)
    np.savez(
        prepared / "train.npz",
        train_images=train_images,
        train_labels=train_labels,
        val_images=val_images,
        val_labels=val_labels,
    )
    others = np.random.default_rng(2).integers(0, 256, (50, 28, 28), np.uint8)
    more_images, more_labels = drawn_set(50, seed=2)
    np.savez(
        folder / "data/mnist/synthetic.npz",
        images=more_images,
        labels=more_labels,
        nondigits=others,
    )
    facts = {
        "name": "drawn",
        "fallback": True,
        "digest": f"sha256:{hashlib.sha256(train_images.tobytes()).hexdigest()}",
        "classes": list(range(10)),
        "image_size": 28,
        "num_train": num_train,
        "num_val": num_val,
        "mean": 0.13,
        "std": 0.31,
    }
    (prepared / "data.json").write_text(json.dumps(facts))
    new_store(folder / "mlflow.db")
    return Project(folder)


def stored_run(project: Project, run_id: str, tracking_uri: str | None = None) -> Any:
    """A run as MLflow has it."""
    return mlflow_client(tracking_uri or project.tracking_uri).get_run(run_id)


def steps(project: Project, run_id: str, tracking_uri: str | None = None) -> list[int]:
    """The steps at which the run has a validation accuracy, each as often as it was logged."""
    client = mlflow_client(tracking_uri or project.tracking_uri)
    return sorted(point.step for point in client.get_metric_history(run_id, "val_accuracy"))


def checkpoints(project: Project) -> dict[str, Path]:
    """The MLflow run of each training that can be gone on with, and where its checkpoint is."""
    states = (project.folder / "checkpoints").glob("*/run.json")
    return {json.loads(path.read_text())["run_id"]: path.parent / "last.ckpt" for path in states}


def interrupted_run(project: Project, before: dict[str, Path]) -> str:
    """The run of the one training interrupted since."""
    (run_id,) = checkpoints(project).keys() - before.keys()
    return run_id


def status_of_latest(project: Project) -> str:
    """The state of the run that was started last."""
    client = mlflow_client(project.tracking_uri)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    return str(client.search_runs([experiment.experiment_id], max_results=1)[0].info.status)


def _train(
    folder: str,
    overrides: tuple[str, ...],
    env: dict[str, str],
    stdout: str,
    stderr: str,
    largest_file: int | None,
) -> None:
    for descriptor, log in ((1, stdout), (2, stderr)):
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), descriptor)
    os.chdir(folder)
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]
    os.environ.update(env)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.argv = ["train", *overrides]
    from digits import train

    train.main()
