"""The study of a search: what is searched for, in Optuna's database, which processes may share."""

import contextlib
import difflib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tenacity
from omegaconf import DictConfig

from digits import addresses
from digits.settings import Mistaken

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

PARENT = "mlflow_run"  # of a study: the sweep's run in MLflow, of all that work on it
SEARCHED_FOR = "objectives"  # of a study: pairs of name and direction, in the order of its values
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


@contextlib.contextmanager
def _to_begin_with(storage: str) -> Iterator[None]:
    """Raise ValueError where the database cannot be used in the block."""
    try:
        yield
    except failures(ImportError) as error:  # of its driver
        told = without(storage, error)
        raise ValueError(f"{told}; start it, or set OPTUNA_STORAGE to another") from error


def open_study(config: DictConfig, **more: Any) -> "optuna.Study":
    """The study of a search: by the name it is given, else by the sweep's folder.

    `more` takes the place of what Optuna's create_study is given. ValueError where its database
    cannot be used.
    """
    with _to_begin_with(config.hydra.sweeper.storage):
        # Processes that start together are all told to make the tables, and all but one fail once.
        return patiently()(_open, config, **more)


def expect_same(config: DictConfig, space: "Mapping[str, BaseDistribution]") -> None:
    """Raise Mistaken where the study is there already, and of other objectives or choices.

    Optuna would refuse each training's result, or the next trial, in mid-search.
    """
    from optuna.distributions import check_distribution_compatibility

    study = _known(config)
    if study is None:
        return
    remedy = "for another search give another hydra.sweeper.study"
    asked = {key: str(direction) for key, direction in objectives(config).items()}
    known = study.user_attrs.get(SEARCHED_FOR)  # of an older study its directions alone are known
    directions = [direction.name.lower() for direction in study.directions]
    if [*asked.values()] != directions or (known and [*map(list, asked.items())] != known):
        was = ", ".join("=".join(each) for each in known) if known else ", ".join(directions)
        wanted = ", ".join(f"{key}={direction}" for key, direction in asked.items())
        raise Mistaken(
            f"the study {study.study_name!r} has the objectives {was}, not {wanted}; {remedy}"
        )
    for trial in patiently()(study.get_trials, deepcopy=False):
        for key in trial.distributions.keys() & space.keys():
            before = trial.distributions[key]
            try:
                check_distribution_compatibility(before, space[key])
            except ValueError:
                raise Mistaken(
                    f"the study {study.study_name!r} has {key}={_written(before)}, not "
                    f"{_written(space[key])}; {remedy}"
                ) from None


def _known(config: DictConfig) -> "optuna.Study | None":
    """The study, where somebody has begun it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = config.hydra.sweeper.storage

    def load() -> optuna.Study:
        return optuna.load_study(study_name=name(config), storage=_storage(url))

    with _to_begin_with(url):
        try:
            return patiently()(load)
        except KeyError:
            return None


def name(config: DictConfig) -> str:
    """The study's, in its database."""
    return config.hydra.sweeper.study or Path(config.hydra.sweep.dir).name


def _written(distribution: Any) -> str:
    """What is searched of a key, as one would type it."""
    if hasattr(distribution, "choices"):
        return ",".join(map(str, distribution.choices))
    interval = f"interval({distribution.low},{distribution.high})"
    whole = f"int({interval})" if isinstance(distribution.low, int) else interval
    return f"tag(log,{whole})" if distribution.log else whole


def _open(config: DictConfig, **more: Any) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # of a lost database it warns at each try
    wanted = config.hydra.sweeper
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    asked: dict[str, Any] = {
        "study_name": name(config),
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
    """Note the MLflow run of the study, and what it is for, for all that will work on it."""
    if objectives(config):
        with needing(config.hydra.sweeper.storage):
            study = open_study(config)
            patiently()(study.set_user_attr, SEARCHED_FOR, [*objectives(config).items()])
            patiently()(study.set_user_attr, PARENT, run_id)
