"""A sweep whose MLflow server is away, at its start or at its end: nothing of it is lost."""

from typing import Any

import pytest

from digits.runs import sweeps
from mlflow_server import Server
from stores import mlflow_client
from training_fixtures import TINY, Project, Training

# Before the first test, since it takes ten seconds to start.
pytestmark = pytest.mark.usefixtures("tracker")

SWEPT = [part for part in TINY if not part.startswith("seed=")]


def runs_of(uri: str) -> tuple[Any, list[Any]]:
    """The one run of a sweep, and those of its trainings."""
    client = mlflow_client(uri)
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    (parent,) = [run for run in runs if sweeps.PARENT not in run.data.tags]
    return parent, [run for run in runs if run is not parent]


def test_without_a_server_a_sweep_is_refused_in_one_line_and_leaves_nothing(
    project: Project,
) -> None:
    uri, before = "http://127.0.0.1:9", {*project.folder.glob("multirun/*")}
    training = project.train("-m", *SWEPT, "seed=1,2", "fold=4", MLFLOW_TRACKING_URI=uri)
    assert training.ended() == 1
    assert training.complaint() == (
        f"train: the MLflow store {uri} cannot be used: [Errno 111] Connection refused; start it, "
        "or set MLFLOW_TRACKING_URI to another"
    )
    assert training.stdout.read_text() == ""
    assert {*project.folder.glob("multirun/*")} == before


def test_a_sweep_that_ends_without_its_server_has_its_table_and_the_same_command_sends_it(
    project: Project, tracker: Server, tracker_database: str
) -> None:
    tracker.wait()

    def start() -> Training:
        return project.train("-m", *SWEPT, "seed=21,22", MLFLOW_TRACKING_URI=tracker.uri)

    first = start().reached("trained in")
    while first.stdout.read_text().count("epoch 1/4") < 2:  # within the second training
        assert first.process.is_alive(), first.said()
    tracker.kill()
    assert first.ended() == 1, first.said()
    parent, _ = runs_of(tracker_database)
    said = first.stdout.read_text().splitlines()
    assert said[-1] == f"run {parent.info.run_id}"
    (row,) = [line for line in said if "best" in line]
    assert "(n = 2)" in row
    *_, complaint = first.stderr.read_text().splitlines()
    assert complaint == (
        f"train: MLflow has no table of this sweep yet: the MLflow store {tracker.uri} cannot be "
        "used: [Errno 111] Connection refused; when it is back, the same command writes it"
    )
    assert "UserWarning" not in first.said()

    tracker.start()
    tracker.wait()
    again = start()
    assert again.ended() == 0, again.said()
    assert again.stdout.read_text().count("trained already") == 2
    assert row in again.stdout.read_text()
    same, children = runs_of(tracker_database)
    assert same.info.run_id == parent.info.run_id
    assert same.data.metrics["num_trainings"] == 2
    assert {run.info.status for run in (same, *children)} == {"FINISHED"}
