"""A sweep and MLflow's experiments: it goes on in the one that its run is in."""

from pathlib import Path
from typing import Any

import pytest

from digits.runs import sweeps, tracking
from stores import mlflow_client, new_store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a store that has nothing yet, which the code finds too."""
    monkeypatch.chdir(tmp_path)
    uri = new_store(tmp_path / "runs.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
    return mlflow_client(uri)


def test_a_sweep_goes_on_in_its_own_experiment_alone(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = sweeps.start(name="sweep", again=None, worker="one")
    tags = sweeps.child_tags(parent, ["seed=1"], worker="one")
    run_id = store.create_run("0", tags=tags).info.run_id
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    assert sweeps.elsewhere(parent) == "Default"
    assert [each.run_id for each in sweeps.children(parent)] == [run_id]
    other = sweeps.start(name="sweep", again=parent, worker="one")
    assert other != parent
    assert store.get_run(parent).info.experiment_id == "0"
    assert not sweeps.finish(run_id)  # it is to be trained for this one
    sweeps.leave(parent, "KILLED", worker="one")
    assert [store.get_run(one).info.status for one in (parent, run_id)] == ["KILLED"] * 2
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
    assert sweeps.elsewhere(parent) is None
    assert sweeps.start(name="sweep", again=parent, worker="one") == parent


def test_a_sweep_whose_experiment_is_renamed_meanwhile_has_the_trainings_of_both(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    parent = sweeps.start(name="sweep", again=None, worker="one")
    runs = []
    for name in ("theirs", "old"):
        experiment = tracking.experiment_id()
        tags = sweeps.child_tags(parent, ["seed=1"], worker="one")
        runs.append(store.create_run(experiment, tags=tags).info.run_id)
        store.rename_experiment(experiment, name)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "old")
    assert {each.run_id for each in sweeps.children(parent)} == {*runs}
