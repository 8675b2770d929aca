"""The study of a search: what is searched for, in Optuna's database, which processes may share."""

import contextlib
import difflib
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tenacity
from omegaconf import DictConfig

from digits import addresses

if TYPE_CHECKING:
    import optuna

PARENT = "mlflow_run"  # of a study: the sweep's run in MLflow, of all that work on it
PATIENCE_S = 20.0  # with the process that began a study
# What can be searched for, and where the result of a training has it.
OBJECTIVES: dict[str, Callable[[dict[str, Any]], float]] = {
    "val_accuracy": lambda result: float(result["validation"]["accuracy"]),
    "num_parameters": lambda result: float(result["num_parameters"]),
    "train_s": lambda result: float(result["train_s"]),
}


class StudyLost(RuntimeError):
    """The study's database fails in mid-search."""


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


def failures(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What Optuna raises where its database fails."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return SQLAlchemyError, StorageInternalError, *more


def without(storage: str, error: Exception) -> str:
    """That a database cannot be used, and why, in a few words."""
    reason = str(error.__cause__ or error).splitlines()[0]
    return f"the study's database {addresses.without_password(storage)} cannot be used: {reason}"


@contextlib.contextmanager
def needing(storage: str) -> Iterator[None]:
    """Raise StudyLost where the database fails in the block."""
    try:
        yield
    except failures() as error:
        told = without(storage, error)
        raise StudyLost(f"{told}; when it is back, the same command goes on") from error


def open_study(config: DictConfig, **more: Any) -> "optuna.Study":
    """The study of a search: by the name it is given, else by the sweep's folder.

    `more` takes the place of what Optuna's create_study is given. ValueError where its database
    cannot be used.
    """
    try:
        # Processes that start together are all told to make the tables, and all but one fail once.
        return patiently()(_open, config, **more)
    except failures(ImportError) as error:  # of its driver
        told = without(config.hydra.sweeper.storage, error)
        raise ValueError(f"{told}; start it, or set OPTUNA_STORAGE to another") from error


def _open(config: DictConfig, **more: Any) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # of a lost database it warns at each try
    wanted = config.hydra.sweeper
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    asked: dict[str, Any] = {
        "study_name": wanted.study or Path(config.hydra.sweep.dir).name,
        "load_if_exists": True,
        "directions": list(objectives(config).values()),
        "pruner": pruner if wanted.prune else optuna.pruners.NopPruner(),
    }
    study = optuna.create_study(storage=_storage(wanted.storage), **(asked | more))
    if "sampler" not in more:
        study.sampler = _sampler(study, seed=None if wanted.study else wanted.seed)
    return study


def patiently() -> tenacity.Retrying:
    """Calls what it is given again where the database fails for a moment."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(failures()),
        stop=tenacity.stop_after_attempt(5),
        wait=tenacity.wait_random(0.1, 1),
        reraise=True,
    )


def trial_of(config: DictConfig, number: int) -> "optuna.Trial":
    """A trial by its number, to be told of in mid-training; raises one of `failures()` at once."""
    import optuna

    # Nothing is sampled there: the trial has its parameters.
    study = _open(config, sampler=optuna.samplers.RandomSampler())
    return optuna.trial.Trial(study, study.trials[number]._trial_id)


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
            with needing(config.hydra.sweeper.storage):
                run_id: str | None = open_study(config).user_attrs.get(PARENT)
            if run_id:
                return run_id
            time.sleep(0.2)
    return None


def keep_parent_run(config: DictConfig, run_id: str) -> None:
    """Note the MLflow run of the study, for all that will work on it."""
    if objectives(config):
        with needing(config.hydra.sweeper.storage):
            patiently()(open_study(config).set_user_attr, PARENT, run_id)
