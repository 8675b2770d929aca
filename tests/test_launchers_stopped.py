"""Ctrl-C in a sweep whose trainings run in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from digits.runs import sweeps
from launcher_fixtures import LAUNCHERS, SWEPT
from stores import mlflow_client, new_store
from training_fixtures import ROOT, make_project

pytestmark = pytest.mark.cluster
PATIENCE_S = 300  # a busy machine takes minutes to start Ray


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_ctrl_c_ends_a_sweep_in_other_processes_in_a_true_state(
    launcher: str, tmp_path: Path
) -> None:
    stop((f"hydra/launcher={launcher}", *LAUNCHERS[launcher]), tmp_path)


def test_ctrl_c_ends_a_sweep_on_a_ray_cluster_in_a_true_state(cluster: str, tmp_path: Path) -> None:
    stop(("hydra/launcher=ray",), tmp_path, RAY_ADDRESS=cluster)


def stop(launcher: tuple[str, ...], tmp_path: Path, **env: str) -> None:
    """Begin a sweep of two trainings, press Ctrl-C when both have had an epoch, and look."""
    project = make_project(tmp_path / "project")
    uri = new_store(tmp_path / "runs.db")
    words = [*launcher, "fold=0,1", "training.epochs=2000"]
    here = {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        [sys.executable, "-m", "digits.train", "-m", *words, *SWEPT],
        cwd=project.folder,
        env={**os.environ, **here, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a terminal sends its signal to all of a group
    )
    client = mlflow_client(uri)

    def states() -> list[str]:
        """Of the sweep's own run, and of its trainings that have had an epoch."""
        known = client.get_experiment_by_name("digits")
        runs = client.search_runs([known.experiment_id]) if known else []
        return [
            run.info.status
            for run in sorted(runs, key=lambda run: sweeps.PARENT in run.data.tags)
            if sweeps.PARENT not in run.data.tags or "val_accuracy" in run.data.metrics
        ]

    try:
        until_s = time.monotonic() + PATIENCE_S
        while len(states()) < 3:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until_s, states()
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert states() == ["KILLED"] * 3, said
    assert process.returncode == 130, said
    # submitit's own process has a traceback for Ctrl-C; nothing of ours does.
    assert str(ROOT / "src") not in said
