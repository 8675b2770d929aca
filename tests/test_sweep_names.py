"""Sweeps that are asked for in so many words that neither a folder nor MLflow takes them all."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from digits.configuration import folder_name
from digits.runs import labels, sweeps
from stores import mlflow_client, new_store
from training_fixtures import Project

DEEP = "[{conv:8,kernel:5,stride:2},{pool:2}," + "{conv:4}," * 30 + "{pool:2}]"  # 300 characters
WORDS = ("-m", "model=cnn", f"model.network.layers={DEEP}", "training.epochs=1", "seed=1,2")


def test_a_folder_has_the_name_of_what_was_asked_for_as_far_as_a_file_system_takes_it() -> None:
    assert folder_name("model=mlp,seed=1") == "model=mlp,seed=1"
    assert folder_name("x" * 255) == "x" * 255
    assert folder_name("x" * 256).startswith("x" * 235 + "..._")
    names = {folder_name("é" * 200 + end) for end in ("a", "b", "a")}
    assert len(names) == 2
    assert all(len(name.encode()) <= 255 and name.startswith("é" * 117) for name in names)


def test_a_sweep_in_many_words_is_trained_and_not_repeated(
    project: Project, tmp_path: Path
) -> None:
    uri = new_store(tmp_path / "runs.db")
    words = (*WORDS, "fold=0,9")  # there is no fold 9: the same command goes on
    for num_known in (0, 2):
        training = project.train(*words, MLFLOW_TRACKING_URI=uri)
        assert training.ended() == 1, training.said()
        assert training.stdout.read_text().count("trained already") == num_known
    client = mlflow_client(uri)
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    (parent,) = [run for run in runs if sweeps.PARENT not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert len(children) == 2
    assert all(len(run.info.run_name) == labels.LONGEST for run in runs)
    assert all(f"model.network.layers={DEEP}" in run.data.tags["overrides"] for run in children)
    assert "(n = 2)" in training.said()


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
def test_postgresql_takes_the_name_of_such_a_sweep(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE names")
    uri = f"{postgres.rpartition('/')[0]}/names"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client: Any = mlflow_client(uri)
    run_id = sweeps.start(name=labels.fitting(" ".join(WORDS)), again=None, worker="one")
    assert client.get_run(run_id).info.run_name.endswith("…")
    with pytest.raises(Exception, match="cannot be used"):  # what it is cut for
        sweeps.start(name=" ".join(WORDS), again=None, worker="one")
