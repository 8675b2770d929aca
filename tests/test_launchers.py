"""A sweep whose trainings run elsewhere, each by the word that chooses where."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from digits.runs import sweeps
from training_fixtures import ROOT, TINY, make_project, mlflow_client

SWEPT = [part for part in TINY if not part.startswith(("seed=", "training.epochs="))]
LAUNCHERS = {
    "joblib": ("hydra.launcher.n_jobs=2",),
    "submitit_local": ("hydra.launcher.timeout_min=5", "hydra.launcher.cpus_per_task=1"),
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_trainings_in_other_processes_are_one_sweep(launcher: str, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    words = (f"hydra/launcher={launcher}", *LAUNCHERS[launcher], *SWEPT, "training.epochs=1")
    ran = subprocess.run(
        [sys.executable, "-m", "digits.train", "-m", *words, "fold=0,7"],
        cwd=project.folder,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=280,
    )
    # One of them cannot work, and is told of as it would be here.
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.splitlines()[-1] == "train: 1 of the sweep's trainings failed, see above"
    client = mlflow_client(uri)
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    (parent,) = [run for run in runs if sweeps.PARENT not in run.data.tags]
    (child,) = [run for run in runs if run is not parent]
    assert child.data.tags[sweeps.PARENT] == parent.info.run_id
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert parent.data.metrics["num_failed"] == 1
