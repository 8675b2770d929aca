"""A study: what it is searched for and where, and which of its trials are trained."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf
from optuna.trial import TrialState

from digits.settings import Mistaken
from digits.sweeping import callback, place, search, studies, trials
from stores import new_store

SPACE = {"optimizer.lr": optuna.distributions.FloatDistribution(0.001, 0.1)}


def config(folder: Path, **objectives: str) -> DictConfig:
    """Of the configuration of a search what says which study it is."""
    sweeper = {
        "storage": f"sqlite:///{folder / 'optuna.db'}",
        "study": "a",
        "objectives": objectives,
        "prune": True,
        "seed": 1,
    }
    return OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}, "sweeper": sweeper}})


def test_a_study_of_other_objectives_is_refused_before_anything_of_it_is_touched(
    tmp_path: Path,
) -> None:
    first = config(tmp_path, val_accuracy="maximize", train_s="minimize")
    studies.expect_same(first, SPACE)
    with pytest.raises(KeyError):  # nothing is begun by that
        optuna.load_study(study_name="a", storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    studies.open_study(first)
    studies.expect_same(first, SPACE)
    with pytest.raises(Mistaken, match=r"^the study 'a' has the objectives maximize, minimize, "):
        studies.expect_same(config(tmp_path, val_accuracy="maximize"), SPACE)
    studies.keep_parent_run(first, "0" * 32)
    studies.expect_same(first, SPACE)
    with pytest.raises(Mistaken) as refused:  # in the same directions
        studies.expect_same(
            config(tmp_path, val_accuracy="maximize", num_parameters="minimize"), SPACE
        )
    assert str(refused.value) == (
        "the study 'a' has the objectives val_accuracy=maximize, train_s=minimize, not "
        "val_accuracy=maximize, num_parameters=minimize; for another search give another "
        "hydra.sweeper.study"
    )


@pytest.mark.parametrize(
    ("word", "has", "asked"),
    [
        ("a=x,z", "a=x,y", "x,z"),
        ("a=interval(1,2)", "a=x,y", "interval(1.0,2.0)"),
        ("b=interval(0.1,1)", "b=tag(log,interval(0.1,1.0))", "interval(0.1,1.0)"),
        ("b=tag(log,interval(0.2,3))", None, None),  # Optuna takes other ends
        ("c=1,2", None, None),
    ],
)
def test_a_study_of_other_choices_is_refused_too(
    tmp_path: Path, word: str, has: str | None, asked: str | None
) -> None:
    def space(*words: str) -> Any:
        return search.read_space(OverridesParser.create().parse_overrides([*words]))[1]

    one = config(tmp_path, val_accuracy="maximize")
    studies.open_study(one).ask(space("a=x,y", "b=tag(log,interval(0.1,1))"))
    if has is None:
        studies.expect_same(one, space(word))
        return
    with pytest.raises(Mistaken) as refused:
        studies.expect_same(one, space(word))
    assert str(refused.value) == (
        f"the study 'a' has {has}, not {asked}; for another search give another hydra.sweeper.study"
    )


def test_a_study_is_gone_on_with_in_its_own_experiment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "runs.db"))
    monkeypatch.setattr(callback, "_open", [])
    one = config(tmp_path, val_accuracy="maximize")
    one.hydra.overrides = {"task": ["optimizer.lr=0.1,0.2"]}
    callback.begin(one)
    known = callback._open[0]
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    with pytest.raises(Mistaken) as refused:
        callback.begin(one)
    assert str(refused.value) == (
        "the study 'a' is of the MLflow experiment 'digits', not 'another'; set "
        "MLFLOW_EXPERIMENT_NAME to that, or give another hydra.sweeper.study"
    )
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    callback.begin(one)
    assert callback._open == [known]


def test_equal_trials_of_a_batch_are_trained_once_and_all_told(tmp_path: Path) -> None:
    """Side by side they would write the same folder."""
    launched = []

    class Launcher:
        def launch(self, jobs: list[list[str]], initial_job_idx: int) -> list[JobReturn]:
            launched.append((initial_job_idx, jobs))
            return [JobReturn(_return_value=0.5, status=JobStatus.COMPLETED) for _ in jobs]

    one = config(tmp_path, val_accuracy="maximize")
    asked: dict[str, Any] = {"study": "a", "prune": False, "seed": 1, "storage": ""}
    searching: Any = search.Search(num_trials=3, num_at_once=2, objectives={}, **asked)
    searching._config, searching._launcher = one, Launcher()
    searching.sweep(["seed=1", "training.batch_size=choice(512)"])
    words = ["seed=1", "training.batch_size=512"]
    assert launched == [(0, [words]), (1, [words])]
    assert [trial.value for trial in studies.open_study(one).trials[:3]] == [0.5] * 3


def running(study: optuna.Study, worker: str, sweep: str = "") -> int:
    """The number of a trial that a worker has been given."""
    trial = study.ask(SPACE)
    trial.set_user_attr(trials.WORKER, worker)
    trial.set_user_attr(trials.SWEEP, sweep)
    return trial.number


def test_a_live_trial_of_a_clone_or_a_container_of_the_same_name_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = studies.open_study(config(tmp_path, val_accuracy="maximize"))
    own = trials.worker()
    host, *boot_and_namespace = own.split()[:-1]
    theirs = [running(study, f"{host} another-boot pid:[1] 999999@1")]
    if boot_and_namespace:
        boot, _ = boot_and_namespace
        theirs.append(running(study, f"{host} {boot} pid:[1] 999999@1"))
    dead = running(study, f"{own.rpartition(' ')[0]} 999999@1")
    alive = running(study, own)
    assert trials.give_back_stale(study)
    states = [trial.state for trial in study.trials]
    assert states[dead] == TrialState.FAIL
    assert {states[number] for number in (alive, *theirs)} == {TrialState.RUNNING}

    def missing(*_: Any) -> Any:
        raise FileNotFoundError

    for name in ("read_text", "readlink"):  # as on Windows and macOS
        monkeypatch.setattr(Path, name, missing)
    assert trials.worker() == f"{host} {own.split()[-1]}"


def test_after_a_restart_of_the_machine_a_folder_knows_what_was_trained_in_it(
    tmp_path: Path,
) -> None:
    study = studies.open_study(config(tmp_path, val_accuracy="maximize"))
    mine, yours = (running(study, "here before 1@1", sweep=sweep) for sweep in ("mine", "yours"))
    assert not trials.give_back_stale(study)
    assert trials.give_back_stale(study, sweep="mine")
    assert study.trials[mine].state == TrialState.FAIL
    assert study.trials[yours].state == TrialState.RUNNING


def test_a_folder_is_kept_from_other_processes_unless_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "_held", [])
    assert not place.is_kept(tmp_path)
    assert place._kept(tmp_path)
    assert place.is_kept(tmp_path)
