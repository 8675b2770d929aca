"""A sweep whose trainings run elsewhere, each by the word that chooses where."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from digits.runs import sweeps
from launcher_fixtures import LAUNCHERS, SWEPT
from stores import mlflow_client, new_store
from training_fixtures import ROOT, make_project

pytestmark = pytest.mark.cluster
SUMMED_UP = "train: 1 of the sweep's trainings failed, see above"
FOLDS = {"joblib": "fold=0,1,7", "submitit_local": "fold=0,7"}  # there is no fold 7


def sweep(
    words: tuple[str, ...], folder: Path, **env: str
) -> tuple[subprocess.CompletedProcess[str], Any, list[Any]]:
    """Sweep in a project of its own: how it ended, its own run in MLflow, its trainings'."""
    project = make_project(folder / "project")
    uri = new_store(folder / "runs.db")
    here = {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT / "src")}
    ran = subprocess.run(
        [sys.executable, "-m", "digits.train", "-m", *words, *SWEPT, "training.epochs=1"],
        cwd=project.folder,
        env={**os.environ, **here, **env},
        capture_output=True,
        text=True,
        timeout=280,
    )
    client = mlflow_client(uri)
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    (parent,) = [run for run in runs if sweeps.PARENT not in run.data.tags]
    return ran, parent, [run for run in runs if run is not parent]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_trainings_in_other_processes_are_one_sweep(launcher: str, tmp_path: Path) -> None:
    words = (f"hydra/launcher={launcher}", *LAUNCHERS[launcher], FOLDS[launcher])
    ran, parent, children = sweep(words, tmp_path)
    # One of them cannot work, and is told of as it would be here.
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.splitlines()[-1] == SUMMED_UP, ran.stderr + ran.stdout
    expect_one_sweep(parent, children, num_failed=1)
    assert len(children) == (2 if launcher == "joblib" else 1)
    if launcher == "joblib":
        expect_at_once(children)


def expect_one_sweep(parent: Any, children: list[Any], *, num_failed: int) -> None:
    assert {run.data.tags[sweeps.PARENT] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert parent.data.metrics["num_failed"] == num_failed


def expect_at_once(children: list[Any]) -> None:
    """Each of the two trainings began before the other had ended."""
    first, second = (run.info for run in children)
    assert first.start_time < second.end_time
    assert second.start_time < first.end_time


def test_trainings_on_two_nodes_of_a_ray_cluster_are_one_sweep(
    cluster: str, tmp_path: Path
) -> None:
    ran, parent, children = sweep(
        ("hydra/launcher=ray", "fold=0,1,7"), tmp_path, RAY_ADDRESS=cluster
    )
    assert ran.returncode == 1, ran.stderr
    # Ray passes on what the trainings printed in a thread of its own, on a busy machine later.
    own = [line for line in ran.stderr.splitlines() if "(_train pid=" not in line]
    assert own[-1] == SUMMED_UP, ran.stderr + ran.stdout
    expect_one_sweep(parent, children, num_failed=1)
    expect_at_once(children)  # so on both nodes: each has one core
