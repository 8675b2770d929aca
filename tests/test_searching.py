"""Searches from the first trial to the last: several processes, several objectives, a kill."""

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from digits.files import write_json
from digits.runs import sweeps, tracking
from digits.sweeping import search, studies, trials
from stores import mlflow_client, new_store
from training_fixtures import TINY, Project, Training

SEARCHED = [part for part in TINY if not part.startswith("training.epochs=")]
LR = "optimizer.lr=tag(log,interval(0.001,0.05))"


def search_runs(uri: str, *, num_children: int | None = None) -> tuple[Any, list[Any]]:
    client = mlflow_client(uri)
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    (parent,) = [run for run in runs if sweeps.PARENT not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert all(run.data.tags[sweeps.PARENT] == parent.info.run_id for run in children)
    assert num_children in (None, len(children))
    return parent, children


def test_processes_that_name_one_study_work_on_it_together(
    project: Project, tmp_path: Path, postgres: str
) -> None:
    """Two that start at once, and one that comes later and asks for more."""
    uri = new_store(tmp_path / "runs.db")

    def start(num_trials: int) -> Any:
        return project.train(
            "-m",
            "hydra/sweeper=optuna",
            "hydra.sweeper.study=together",
            f"hydra.sweeper.num_trials={num_trials}",
            *SEARCHED,
            "training.epochs=int(interval(1,2))",
            LR,
            MLFLOW_TRACKING_URI=uri,
            OPTUNA_STORAGE=postgres,
        )

    both = [start(3), start(3)]
    for one in both:
        assert one.ended() == 0, one.said()
    parent, children = search_runs(uri)
    assert len({run.info.run_name for run in children}) == len(children) == 3
    later = start(4)
    assert later.ended() == 0, later.said()
    same, children = search_runs(uri)
    assert (same.info.run_id, same.info.status) == (parent.info.run_id, "FINISHED")
    assert len(children) == 4

    storage = optuna.storages.RDBStorage(postgres)
    study = optuna.load_study(study_name="together", storage=storage)
    finished = study.get_trials(states=[TrialState.COMPLETE])
    storage.engine.dispose()
    reached = sorted(run.data.metrics[sweeps.SCORE] for run in children)
    assert sorted(trial.value for trial in finished) == pytest.approx(reached)
    marked = [run for run in children if sweeps.BEST in run.data.tags]
    assert [run.info.run_id for run in marked] == same.data.tags["best_run_ids"].split(",")
    assert marked[0].data.metrics[sweeps.SCORE] == max(reached)


def test_a_search_of_two_objectives_marks_all_that_no_other_beats(
    project: Project, tmp_path: Path
) -> None:
    uri = new_store(tmp_path / "runs.db")
    training = project.train(
        "-m",
        "hydra/sweeper=optuna",
        "hydra.sweeper.num_trials=4",
        "+hydra.sweeper.objectives.num_parameters=minimize",
        "model=linear,mlp",
        "training.epochs=2",
        "training.batch_size=16",
        "optimizer.lr=tag(log,interval(0.00001,0.01))",
        MLFLOW_TRACKING_URI=uri,
        OPTUNA_STORAGE=f"sqlite:///{tmp_path / 'optuna.db'}",
    )
    assert training.ended() == 0, training.said()
    parent, children = search_runs(uri)
    assert len(children) == 4
    marked = [run for run in children if sweeps.BEST in run.data.tags]
    points = {
        run.info.run_id: (run.data.metrics[sweeps.SCORE], -run.data.metrics[sweeps.SIZE])
        for run in children
    }
    front = {
        name
        for name, one in points.items()
        if not any(
            other != one and other[0] >= one[0] and other[1] >= one[1] for other in points.values()
        )
    }
    assert {points[run.info.run_id] for run in marked} == {points[name] for name in front}
    pictures = {file.path for file in mlflow_client(uri).list_artifacts(parent.info.run_id)}
    assert {"parallel_coordinates.png", "importances.png", "val_accuracy.png"} < pictures


def test_a_search_that_was_killed_goes_on_with_what_is_missing(
    project: Project, tmp_path: Path
) -> None:
    uri, database = new_store(tmp_path / "runs.db"), f"sqlite:///{tmp_path / 'optuna.db'}"

    def start() -> Training:
        return project.train(
            *("-m", "hydra/sweeper=optuna", "hydra.sweeper.num_trials=3", *SEARCHED, LR),
            "training.epochs=30",
            MLFLOW_TRACKING_URI=uri,
            OPTUNA_STORAGE=database,
        )

    first = start().reached("trained in")
    while first.stdout.read_text().count("epoch 5/30") < 2:  # within the second training
        assert first.process.is_alive(), first.said()
        time.sleep(0.01)
    first.signalled(signal.SIGKILL)
    parent, children = search_runs(uri)
    assert sorted(run.info.status for run in children) == ["FINISHED", "RUNNING"]

    again = start()
    assert again.ended() == 0, again.said()
    assert "going on after epoch" in again.stdout.read_text()  # the one that was killed, first
    same, later = search_runs(uri)
    assert (same.info.run_id, same.info.status) == (parent.info.run_id, "FINISHED")
    assert len(later) == 3, again.said()
    assert {run.info.run_id for run in children} < {run.info.run_id for run in later}
    assert {run.info.status for run in later} == {"FINISHED"}
    (name,) = optuna.get_all_study_names(database)
    study = optuna.load_study(study_name=name, storage=database)
    counted = trials.counted(study.trials)
    assert [trial.state for trial in counted] == [TrialState.COMPLETE] * 3
    reached = sorted(run.data.metrics[sweeps.SCORE] for run in later)
    assert sorted(trial.value for trial in counted if trial.value) == pytest.approx(reached)


def test_an_error_that_nobody_foresaw_ends_its_training_alone_which_is_tried_again(
    project: Project, tmp_path: Path
) -> None:
    uri, database = new_store(tmp_path / "runs.db"), f"sqlite:///{tmp_path / 'optuna.db'}"
    prepared = tmp_path / "prepared"
    shutil.copytree(project.folder / "data/mnist/prepared", prepared)
    facts = (prepared / "data.json").read_text()

    def start() -> Training:
        return project.train(
            *("-m", "hydra/sweeper=optuna", "hydra.sweeper.num_trials=2", *SEARCHED, LR),
            *("training.epochs=1", f"prepared={prepared}"),
            MLFLOW_TRACKING_URI=uri,
            OPTUNA_STORAGE=database,
        )

    write_json(prepared / "data.json", {"name": "without a digest"})
    first = start()
    assert first.ended() == 1, first.said()
    said = first.stderr.read_text().splitlines()
    assert said.count("train: KeyError: 'digest'") == said.count("KeyError: 'digest'") == 2
    assert said.count("Traceback (most recent call last):") == 2
    assert said[-1] == "train: 2 of the sweep's trainings failed, see above"
    (name,) = optuna.get_all_study_names(database)
    study = optuna.load_study(study_name=name, storage=database)
    failed = trials.counted(study.trials)
    assert [one.state for one in failed] == [TrialState.FAIL] * 2
    parent, _ = search_runs(uri, num_children=0)
    assert (parent.info.status, parent.data.metrics["num_failed"]) == ("FAILED", 2)
    rates = [*search.as_overrides(failed[0].params), *search.as_overrides(failed[1].params)]
    for rate in rates:
        assert f"- {rate}: KeyError: 'digest'" in first.stdout.read_text()

    (prepared / "data.json").write_text(facts)
    again = start()
    assert again.ended() == 0, again.said()
    same, children = search_runs(uri, num_children=2)
    assert (same.info.run_id, same.info.status) == (parent.info.run_id, "FINISHED")
    assert same.data.metrics["num_failed"] == 0
    assert sorted(run.data.params["optimizer.lr"] for run in children) == sorted(
        rate.partition("=")[2] for rate in rates
    )
    counted = trials.counted(study.get_trials())
    assert [one.state for one in counted] == [TrialState.COMPLETE] * 2


def test_what_a_search_gives_up_is_said_in_its_run_and_the_rest_goes_on(
    project: Project, tmp_path: Path
) -> None:
    uri, database = new_store(tmp_path / "runs.db"), f"sqlite:///{tmp_path / 'optuna.db'}"
    rates = optuna.distributions.CategoricalDistribution(["1e-09", "0.01"])
    study = optuna.create_study(study_name="known", storage=database, direction="maximize")
    study.set_user_attr(studies.PARENT, "0" * 32)  # of a store that was emptied
    for _ in range(4):  # from which on there is a median to fall behind
        trial = study.ask({"optimizer.lr": rates})
        for epoch in range(1, 9):
            trial.report(0.3, epoch)
        study.tell(trial, 0.3)
    for rate in rates.choices:
        study.enqueue_trial({"optimizer.lr": rate})
    training = project.train(
        *("-m", "hydra/sweeper=optuna", "hydra.sweeper.study=known", "hydra.sweeper.num_trials=6"),
        *(*SEARCHED, "training.epochs=8", "optimizer.lr=1e-09,0.01"),
        MLFLOW_TRACKING_URI=uri,
        OPTUNA_STORAGE=database,
    )
    assert training.ended() == 0, training.said()
    assert "given up after epoch " in training.said()
    parent, children = search_runs(uri)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["num_given_up"] == 1
    assert parent.data.metrics["num_failed"] == 0
    given_up = {
        run.data.params["optimizer.lr"]: tracking.GIVEN_UP in run.data.tags for run in children
    }
    assert given_up == {"1e-09": True, "0.01": False}
    assert "1 given up" in parent.data.tags[tracking.NOTE]
    states = [trial.state for trial in trials.counted(study.get_trials())[4:]]
    assert states == [TrialState.PRUNED, TrialState.COMPLETE]
