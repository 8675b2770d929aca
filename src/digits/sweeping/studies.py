"""The study of a search: its trials in Optuna's database, which several processes may share."""

import difflib
import math
import os
import socket
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import tenacity
from omegaconf import DictConfig

from digits.runs import tracking

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

PARENT = "mlflow_run"  # of a study: the sweep's run in MLflow, of all that work on it
WORKER = "worker"  # of a trial: the process that trains it
PATIENCE_S = 20.0  # with the process that began a study
VOID = "void"  # of a trial: it was given back, and counts as none
# What can be searched for, and where the result of a training has it.
OBJECTIVES: dict[str, Callable[[dict[str, Any]], float]] = {
    "val_accuracy": lambda result: float(result["validation"]["accuracy"]),
    "num_parameters": lambda result: float(result["num_parameters"]),
    "train_s": lambda result: float(result["train_s"]),
}


def objectives(config: DictConfig) -> dict[str, Any]:
    """What is searched for, and whether it is to be maximised; empty where nothing is searched."""
    return dict(config.hydra.sweeper.get("objectives") or {})


def check_objectives(config: DictConfig) -> None:
    """Raise ValueError where something is searched for that no training reports."""
    for name in objectives(config):
        if name not in OBJECTIVES:
            near = difflib.get_close_matches(name, OBJECTIVES, n=1) or [*OBJECTIVES]
            raise ValueError(
                f"hydra.sweeper.objectives.{name} is no objective; there is {' or '.join(near)}"
            )


def open_study(config: DictConfig, **more: Any) -> "optuna.Study":
    """The study of a search: by the name it is given, else by the sweep's folder.

    `more` takes the place of what Optuna's create_study is given. ValueError where its database
    cannot be used.
    """
    import optuna
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    wanted = config.hydra.sweeper
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    asked: dict[str, Any] = {
        "study_name": wanted.study or Path(config.hydra.sweep.dir).name,
        "load_if_exists": True,
        "directions": list(objectives(config).values()),
        "pruner": pruner if wanted.prune else optuna.pruners.NopPruner(),
    }
    # Processes that start together are all told to make the tables, and all but one fail once.
    again = tenacity.retry_if_exception_type((SQLAlchemyError, StorageInternalError))
    try:
        for attempt in tenacity.Retrying(
            retry=again,
            stop=tenacity.stop_after_attempt(5),
            wait=tenacity.wait_random(0.1, 1),
            reraise=True,
        ):
            with attempt:
                study = optuna.create_study(storage=_storage(wanted.storage), **(asked | more))
                if "sampler" not in more:
                    study.sampler = _sampler(study, seed=None if wanted.study else wanted.seed)
                return study
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(
            f"the study's database {tracking.without_password(wanted.storage)} cannot be used: "
            f"{reason}; start it, or set OPTUNA_STORAGE to another"
        ) from error
    raise AssertionError("unreachable")


def _sampler(study: "optuna.Study", *, seed: int | None) -> Any:
    """What chooses the next trials; `seed` is None where processes share the study.

    They would all begin with the same trainings, and so would a search that is started again: its
    seed is another one after each trial.
    """
    from optuna.samplers import TPESampler

    seed = None if seed is None else seed + len(study.get_trials(deepcopy=False))
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


@cache
def _storage(url: str) -> Any:
    """A process's way to a database."""
    import optuna

    return optuna.storages.get_storage(url)


def parent_run(config: DictConfig) -> str | None:
    """The MLflow run of the study; None where no study is searched, or this process begins it."""
    if not objectives(config):
        return None
    from optuna.exceptions import DuplicatedStudyError

    try:
        open_study(config, load_if_exists=False)
    except DuplicatedStudyError:  # whoever made it makes its run, just now perhaps
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            run_id: str | None = open_study(config).user_attrs.get(PARENT)
            if run_id:
                return run_id
            time.sleep(0.2)
    return None


def keep_parent_run(config: DictConfig, run_id: str) -> None:
    """Note the MLflow run of the study, for all that will work on it."""
    if objectives(config):
        open_study(config).set_user_attr(PARENT, run_id)


def ask(
    study: "optuna.Study", space: "dict[str, BaseDistribution]", *, most: int, in_all: int
) -> "list[optuna.Trial]":
    """The next trials; fewer, or none, where the study has as many as it should."""
    trials: list[optuna.Trial] = []
    while len(trials) < most:
        trial = study.ask(space)
        counted = [one.number for one in study.get_trials(deepcopy=False) if counts(one)]
        if sum(number <= trial.number for number in counted) > in_all:
            give_back(study, trial.number, again=False)  # others have asked for the last ones
            break
        trial.set_user_attr(WORKER, worker())
        trials.append(trial)
    return trials


def counts(trial: "optuna.trial.FrozenTrial") -> bool:
    from optuna.trial import TrialState

    return VOID not in trial.user_attrs and trial.state != TrialState.WAITING


def tell(study: "optuna.Study", trial: "optuna.Trial", value: Any) -> None:
    """What a training came to: its objectives, nothing where it was pruned, NaN where it failed."""
    from optuna.trial import TrialState

    if value is None:
        study.tell(trial, state=TrialState.PRUNED)
        return
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if any(math.isnan(one) for one in values):
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, values)


def give_back_stale(study: "optuna.Study") -> None:
    """Trials of processes of this machine that were killed: to be trained, not lost."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        host, _, process = trial.user_attrs.get(WORKER, "").partition(" ")
        if host == socket.gethostname() and process not in _processes():
            give_back(study, trial.number)


def give_back(study: "optuna.Study", number: int, *, again: bool = True) -> None:
    """End a trial that was not trained to its end; `again` puts the same into the queue."""
    from optuna.trial import TrialState

    trial = study.trials[number]
    if trial.state.is_finished():
        return
    # Its storage, since a trial of another process has no handle here.
    study._storage.set_trial_user_attr(trial._trial_id, VOID, True)
    study.tell(number, state=TrialState.FAIL)
    if again:
        study.enqueue_trial(trial.params)


def worker() -> str:
    process = psutil.Process(os.getpid())
    return f"{socket.gethostname()} {_name(process)}"


def _processes() -> set[str]:
    return {_name(process) for process in psutil.process_iter(["create_time"])}


def _name(process: psutil.Process) -> str:
    """A process's number is used again; not in the same second."""
    return f"{process.pid}@{int(process.create_time())}"
