"""A sweep in MLflow: a parent run, its trainings below it, and what they came to."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from digits.runs import sweeps
from digits.sweep import Group, group, summary
from training_fixtures import TINY, Project, checkpoints, mlflow_client

SWEPT = [part for part in TINY if not part.startswith(("seed=", "training.epochs="))]


def child(overrides: str, accuracy: float | None, *, status: str = "FINISHED") -> sweeps.Child:
    return sweeps.Child(
        run_id="r", status=status, overrides=tuple(overrides.split()), val_accuracy=accuracy
    )


def test_trainings_that_differ_in_seed_or_fold_alone_are_one_group() -> None:
    groups = group(
        [
            child("model=mlp seed=1", 0.9),
            child("model=cnn seed=1", 0.98),
            child("model=cnn seed=2", 0.96),
            child("model=cnn seed=3", None, status="FAILED"),
            child("model=mlp seed=1 fold=3", 0.8),
        ]
    )
    assert [(each.name, each.accuracies) for each in groups] == [
        ("model=cnn", (0.98, 0.96)),
        ("model=mlp", (0.9, 0.8)),
    ]
    assert str(groups[0]) == "97.00% ± 1.41 (n = 2)"
    assert str(Group(name="a", accuracies=(0.5,))) == "50.00% (n = 1)"


def test_the_summary_names_each_group_and_how_many_did_not_finish() -> None:
    groups = group([child("model=cnn seed=1", 0.98), child("model=m seed=1", 0.5)])
    lines = summary(groups, num_failed=2).splitlines()
    assert lines[2:4] == ["| model=cnn | 98.00% (n = 1) |", "| model=m   | 50.00% (n = 1) |"]
    assert lines[-1] == "2 did not finish."
    assert summary([], num_failed=1).endswith("1 did not finish.")


@pytest.fixture(scope="module")
def swept(project: Project) -> tuple[Any, Any, list[Any], str]:
    """A sweep over folds of which one cannot work: client, parent run, children, what it said."""
    uri = f"sqlite:///{project.folder / 'sweep.db'}"
    training = project.train(
        "-m", *SWEPT, "training.epochs=1", "fold=0,1,7", MLFLOW_TRACKING_URI=uri
    )
    assert training.ended() == 1
    client = mlflow_client(uri)
    experiment = client.get_experiment_by_name("digits").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = [run for run in runs if sweeps.PARENT not in run.data.tags]
    children = [run for run in runs if run.data.tags.get(sweeps.PARENT) == parent.info.run_id]
    return client, parent, children, training.said()


def test_a_sweep_is_one_run_with_its_trainings_below_it(
    swept: tuple[Any, Any, list[Any], str],
) -> None:
    client, parent, children, said = swept
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name.startswith("sweep model=cnn ")
    assert sorted(run.info.run_name.split()[-1] for run in children) == ["fold=0", "fold=1"]
    accuracies = [run.data.metrics[sweeps.SCORE] for run in children]
    mean = parent.data.metrics["best/val_accuracy_mean"]
    assert mean == pytest.approx(sum(accuracies) / 2)
    assert parent.data.metrics["best/val_accuracy_sd"] == pytest.approx(
        abs(accuracies[0] - accuracies[1]) / 2**0.5
    )
    assert f"{mean:.2%} ± " in said
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert artifacts == {"summary.md", "val_accuracy.png"}


def test_an_interrupted_sweep_is_left_in_a_true_state(project: Project, tmp_path: Path) -> None:
    uri, before = f"sqlite:///{tmp_path / 'sweep.db'}", checkpoints(project)
    training = project.train(
        "-m", *SWEPT, "training.epochs=500", "seed=1,2", MLFLOW_TRACKING_URI=uri
    )
    training.reached("epoch 2/500")
    training.signalled(signal.SIGINT)
    for run_id, path in checkpoints(project).items():
        if run_id not in before:  # what it would go on with: the project is shared
            shutil.rmtree(path.parent)
    client = mlflow_client(uri)
    experiment = client.get_experiment_by_name("digits").experiment_id
    assert {run.info.status for run in client.search_runs([experiment])} == {"KILLED"}
