"""A search: what Optuna is asked, what it is told, and who works on it."""

import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from optuna.trial import TrialState

from digits.files import write_json
from digits.runs.tracking import GivenUp
from digits.sweeping import search, studies, trials
from digits.sweeping.job import Job
from stores import new_store
from training_fixtures import TINY, Project, Training

SEARCHED = [part for part in TINY if not part.startswith("training.epochs=")]
LR = "optimizer.lr=tag(log,interval(0.001,0.05))"
SPACE = {"optimizer.lr": optuna.distributions.FloatDistribution(0.001, 0.1)}


def hydra(folder: Path, **more: Any) -> DictConfig:
    """Hydra's part of the configuration of a search's first job."""
    sweeper = {
        "storage": f"sqlite:///{folder / 'optuna.db'}",
        "study": None,
        "objectives": {"val_accuracy": "maximize"},
        "prune": True,
        "seed": 1,
        **more,
    }
    return OmegaConf.create(
        {
            "mode": RunMode.MULTIRUN,
            "sweep": {"dir": str(folder)},
            "sweeper": sweeper,
            "overrides": {"task": ["optimizer.lr=0.01"]},
            "job": {"num": 0},
            "runtime": {"output_dir": str(folder / "job")},
        }
    )


def study_of(hydra: DictConfig) -> optuna.Study:
    return studies.open_study(OmegaConf.create({"hydra": hydra}))


def test_what_is_searched_is_written_as_hydra_writes_sweeps() -> None:
    words = [
        "model=tiny,cnn",
        "training.batch_size=range(64,257,64)",
        "training.epochs=int(interval(2,9))",
        LR,
        "augment=none",
    ]
    fixed, space = search.read_space(OverridesParser.create().parse_overrides(words))
    assert fixed == ["augment=none"]
    assert space == {
        "model": optuna.distributions.CategoricalDistribution(["tiny", "cnn"]),
        "training.batch_size": optuna.distributions.IntDistribution(64, 256, step=64),
        "training.epochs": optuna.distributions.IntDistribution(2, 9),
        "optimizer.lr": optuna.distributions.FloatDistribution(0.001, 0.05, log=True),
    }
    with pytest.raises(ValueError, match="nothing is searched"):
        search.read_space(OverridesParser.create().parse_overrides(["augment=none"]))
    backwards = OverridesParser.create().parse_overrides(["training.epochs=range(10,2,-2)"])
    assert search.read_space(backwards)[1] == {
        "training.epochs": optuna.distributions.IntDistribution(4, 10, step=2)
    }
    empty = OverridesParser.create().parse_overrides(["training.epochs=range(3,1)"])
    with pytest.raises(ValueError, match=r"^training.epochs=range\(3,1\) has nothing in it; "):
        search.read_space(empty)


def test_a_trial_is_what_one_would_type() -> None:
    assert search.as_overrides({"model": "cnn", "a": 3, "b": 0.0123456789, "c": 1e-5}) == [
        "model=cnn",
        "a=3",
        "b=0.01235",
        "c=1e-05",
    ]


def test_a_training_that_falls_behind_is_given_up(tmp_path: Path) -> None:
    config = hydra(tmp_path)
    study = study_of(config)
    for _ in range(4):
        trial = study.ask(SPACE)
        for epoch in (1, 2, 3):
            trial.report(0.9, epoch)
        study.tell(trial, 0.9)
    write_json(tmp_path / search.TRIALS, {0: study.ask(SPACE).number})
    job = Job(config, out=tmp_path / "job")
    job.epoch({"epoch": 1.0, "val_accuracy": 0.1})  # too early to tell
    with pytest.raises(GivenUp, match="given up after epoch 2"):
        job.epoch({"epoch": 2.0, "val_accuracy": 0.8})


def test_one_that_does_not_fall_behind_goes_on(tmp_path: Path) -> None:
    for number, more in enumerate(({}, {"prune": False})):
        folder = tmp_path / str(number)
        folder.mkdir()
        config = hydra(folder, **more)
        study = study_of(config)
        for _ in range(4):
            trial = study.ask(SPACE)
            trial.report(0.9, 2)
            study.tell(trial, 0.9)
        write_json(folder / search.TRIALS, {0: study.ask(SPACE).number})
        accuracy = 0.1 if more else 0.95
        Job(config, out=folder / "job").epoch({"epoch": 2.0, "val_accuracy": accuracy})


def test_a_sweeper_is_told_each_objective(tmp_path: Path) -> None:
    config = hydra(tmp_path, objectives={"val_accuracy": "maximize", "num_parameters": "minimize"})
    write_json(tmp_path / search.TRIALS, {0: study_of(config).ask(SPACE).number})
    result = {"validation": {"accuracy": 0.9}, "num_parameters": 1234, "train_s": 5.0}
    job = Job(config, out=tmp_path / "job")
    assert job.value(result) == (0.9, 1234.0)
    job.epoch({"epoch": 9.0, "val_accuracy": 0.0})  # of two objectives none is pruned


def test_an_objective_that_nobody_knows_is_named_with_what_was_probably_meant(
    tmp_path: Path,
) -> None:
    more = {"val_accuracy": "maximize", "parameters": "minimize"}
    sweeper: Any = search.Search(
        storage="", study=None, num_trials=1, num_at_once=1, objectives=more, prune=True, seed=1
    )
    sweeper._config = OmegaConf.create({"hydra": hydra(tmp_path, objectives=more)})
    with pytest.raises(
        ValueError, match=r"^hydra.sweeper.objectives.parameters is no objective; "
    ) as e:
        sweeper.sweep([LR])
    assert str(e.value).endswith("; there is num_parameters")


def test_trials_of_a_process_that_was_killed_are_given_back(tmp_path: Path) -> None:
    study = study_of(hydra(tmp_path))
    dead, alive, elsewhere = (study.ask(SPACE) for _ in range(3))
    dead.set_user_attr(trials.WORKER, f"{socket.gethostname()} 999999@1")
    alive.set_user_attr(trials.WORKER, trials.worker())
    elsewhere.set_user_attr(trials.WORKER, "another-machine 1@1")
    trials.give_back_stale(study)
    states = [trial.state for trial in study.trials]
    assert states[:3] == [TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING]
    (again,) = trials.ask(study, SPACE, most=1, in_all=3)
    assert again.params == dead.params
    assert trials.ask(study, SPACE, most=1, in_all=3) == []  # the one that was lost counts as none


def test_what_failed_in_a_folder_is_tried_again_and_counts_once(tmp_path: Path) -> None:
    study = study_of(hydra(tmp_path))
    mine, yours = (
        trials.ask(study, SPACE, most=1, in_all=2, sweep=sweep)[0] for sweep in ("mine", "yours")
    )
    for trial in (mine, yours):
        trials.tell(study, trial, float("nan"))
    for _ in range(2):  # a start may be killed, and come again
        trials.try_again(study, sweep="mine")
    (again,) = trials.ask(study, SPACE, most=2, in_all=2, sweep="mine")
    assert again.params == mine.params
    assert [one.number for one in trials.counted(study.trials)] == [yours.number, again.number]
    trials.tell(study, again, float("nan"))
    trials.try_again(study, sweep="mine")
    (third,) = trials.ask(study, SPACE, most=2, in_all=2, sweep="mine")
    assert third.params == mine.params


def test_no_more_is_asked_than_wanted_whoever_asks(tmp_path: Path) -> None:
    first, second = study_of(hydra(tmp_path)), study_of(hydra(tmp_path))
    asked = trials.ask(first, SPACE, most=2, in_all=3)
    asked += trials.ask(second, SPACE, most=2, in_all=3)
    assert len(asked) == 3
    assert trials.ask(first, SPACE, most=2, in_all=3) == []
    counted = trials.counted(first.get_trials())
    assert len(counted) == 3


def test_a_database_that_cannot_be_used_is_said_in_one_line(
    project: Project, tmp_path: Path
) -> None:
    training = project.train(
        *("-m", "hydra/sweeper=optuna", *SEARCHED, LR),
        MLFLOW_TRACKING_URI=new_store(tmp_path / "runs.db"),
        OPTUNA_STORAGE="postgresql://digits:secret@127.0.0.1:1/studies",
    )
    assert training.ended() == 2, training.said()
    said = training.complaint()
    assert said.startswith("train: the study's database postgresql://127.0.0.1:1/studies cannot be")
    assert said.endswith("; start it, or set OPTUNA_STORAGE to another")
    assert "secret" not in said


@contextmanager
def lost(database: Path) -> Iterator[None]:
    """A database that cannot be used for as long as the block."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute("ALTER TABLE trials RENAME TO away")
        yield
        connection.execute("ALTER TABLE away RENAME TO trials")


def test_a_training_goes_on_while_the_database_of_its_search_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = hydra(tmp_path)
    study = study_of(config)
    trial = study.ask(SPACE)
    write_json(tmp_path / search.TRIALS, {0: trial.number})
    job = Job(config, out=tmp_path / "job")
    with lost(tmp_path / "optuna.db"):
        for epoch in (1.0, 2.0):
            job.epoch({"epoch": epoch, "val_accuracy": 0.5})
    job.epoch({"epoch": 3.0, "val_accuracy": 0.75})
    assert study.trials[trial.number].intermediate_values == {3: 0.75}
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"the study's database sqlite:///{tmp_path}/optuna.db cannot be used: ")
    assert said.endswith("no such table: trials; nothing is given up until it can")


def test_a_database_that_fails_for_a_moment_is_asked_and_told_again(tmp_path: Path) -> None:
    study = study_of(hydra(tmp_path))
    trial = study.ask(SPACE)
    with ThreadPoolExecutor() as threads:
        with lost(tmp_path / "optuna.db"):
            told = threads.submit(trials.tell, study, trial, 0.5)
            asked = threads.submit(trials.ask, study, SPACE, most=1, in_all=2)
            time.sleep(0.05)
        told.result()
        (second,) = asked.result()
    assert study.trials[trial.number].value == 0.5
    assert trials.WORKER in study.trials[second.number].user_attrs


def test_a_trial_that_a_failing_database_gave_out_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "CLAIMED_S", 0.0)
    study = study_of(hydra(tmp_path))
    params = study.ask(SPACE).params  # and nobody says whose it is
    assert trials.ask(study, SPACE, most=1, in_all=1) == []
    assert trials.give_back_stale(study)
    (again,) = trials.ask(study, SPACE, most=1, in_all=1)
    assert again.params == params
    assert not trials.give_back_stale(study)


def test_a_search_that_loses_its_database_says_so_in_one_line_and_goes_on_later(
    project: Project, tmp_path: Path
) -> None:
    database = tmp_path / "optuna.db"

    def start() -> Training:
        return project.train(
            *("-m", "hydra/sweeper=optuna", "hydra.sweeper.num_trials=2", *SEARCHED, LR),
            "training.epochs=12",
            MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'runs.db'}",
            OPTUNA_STORAGE=f"sqlite:///{database}",
        )

    new_store(tmp_path / "runs.db")
    first = start().reached("epoch 1/12")
    with lost(database):
        assert first.ended() == 1, first.said()
    assert "trained in" in first.stdout.read_text()
    for_the_training, for_the_search = first.stderr.read_text().splitlines()
    told = f"the study's database sqlite:///{database} cannot be used: "
    assert for_the_training.startswith(told)
    assert for_the_search.startswith(f"train: {told}")
    assert for_the_search.endswith("; when it is back, the same command goes on")
    again = start()
    assert again.ended() == 0, again.said()
    assert again.stdout.read_text().count("trained already") == 1
    assert "(n = 1)" in again.stdout.read_text()
