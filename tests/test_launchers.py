"""A sweep whose trainings run elsewhere, each by the word that chooses where."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from digits.runs import sweeps
from digits.sweeping.cluster import OnRay
from stores import mlflow_client, new_store
from training_fixtures import ROOT, TINY, Project, make_project

SWEPT = [part for part in TINY if not part.startswith(("seed=", "training.epochs="))]
LAUNCHERS = {
    "joblib": ("hydra.launcher.n_jobs=2",),
    "submitit_local": ("hydra.launcher.timeout_min=5", "hydra.launcher.cpus_per_task=1"),
}


# Two nodes that have a core each, until the standard input ends.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


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
    words = (f"hydra/launcher={launcher}", *LAUNCHERS[launcher], "fold=0,7")
    ran, parent, children = sweep(words, tmp_path)
    # One of them cannot work, and is told of as it would be here.
    assert ran.returncode == 1, ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last == "train: 1 of the sweep's trainings failed, see above", ran.stderr + ran.stdout
    (child,) = children
    assert child.data.tags[sweeps.PARENT] == parent.info.run_id
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert parent.data.metrics["num_failed"] == 1


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two nodes."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def test_trainings_on_two_nodes_of_a_ray_cluster_are_one_sweep(
    cluster: str, tmp_path: Path
) -> None:
    ran, parent, children = sweep(
        ("hydra/launcher=ray", "fold=0,1,7"), tmp_path, RAY_ADDRESS=cluster
    )
    assert ran.returncode == 1, ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last == "train: 1 of the sweep's trainings failed, see above", ran.stderr + ran.stdout
    assert [run.data.tags[sweeps.PARENT] for run in children] == [parent.info.run_id] * 2
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert parent.data.metrics["num_failed"] == 1
    # At the same time, so on both nodes: each has one core.
    first, second = (run.info for run in children)
    assert first.start_time < second.end_time
    assert second.start_time < first.end_time


def test_a_node_of_ray_that_does_not_see_the_project_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = FileNotFoundError(2, "No such file or directory", str(tmp_path))
    lost = ray.exceptions.RayTaskError(
        "_train", "\x1b[36mray::_train()", missing, "_train", 7, "::1"
    )

    def get(_: Any) -> None:
        raise lost.as_instanceof_cause()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "remote", lambda **_: lambda function: function)
    monkeypatch.setattr(ray, "get", get)
    with pytest.raises(ValueError, match="begin a training") as error:
        OnRay(address=None, num_cpus=1, num_gpus=0).launch([], initial_job_idx=0)
    assert str(error.value) == (
        "a node of Ray cannot begin a training: FileNotFoundError: [Errno 2] No such file or "
        f"directory: '{tmp_path}'; each needs the project at {tmp_path}, and `ray start` in the "
        "project's environment"
    )


def test_a_ray_cluster_that_is_not_there_is_said_in_one_line(project: Project) -> None:
    training = project.train(
        *("-m", "hydra/launcher=ray", "hydra.launcher.address=127.0.0.1:1", *SWEPT, "seed=1,2"),
    )
    assert training.ended() == 2, training.said()
    (said,) = [line for line in training.said().splitlines() if line.startswith("train: ")]
    assert said == (
        "train: no Ray cluster answers at 127.0.0.1:1; start one by `ray start --head`, or set "
        "RAY_ADDRESS to another"
    )
    assert "Traceback" not in training.said()
