"""A search: Optuna chooses the next trainings of a sweep by what the last ones reached.

`hydra/sweeper=optuna` makes a sweep a search; what is searched is written as Hydra writes sweeps:
`model=tiny,cnn`, `training.epochs=range(4,13,4)`, `optimizer.lr=tag(log,interval(0.001,0.05))`.
Hydra's launcher trains, so that cores, a Ray cluster or SLURM are a word away here too; and several
processes may work on one study, wherever its database is.

Hydra's own Optuna plugin is not used: docs/decisions.md.
"""

import difflib
import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import tenacity
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from digits.files import write_json
from digits.runs import tracking

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

TRIALS = "trials.json"  # which trial of the study each training of the batch is
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


class Search(Sweeper):
    """Hydra's sweeper that asks Optuna."""

    def __init__(
        self,
        *,
        storage: str,
        study: str | None,
        num_trials: int,
        num_at_once: int,
        objectives: dict[str, str],
        prune: bool,
        seed: int,
    ) -> None:
        self._num_trials, self._num_at_once = num_trials, num_at_once
        self._launcher: Any = None
        self._config: Any = None
        self._loader: Any = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._config, self._loader = config, hydra_context.config_loader
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Train until the study has `num_trials`; those of an earlier start count."""
        parser = OverridesParser.create(config_loader=self._loader)
        fixed, space = read_space(parser.parse_overrides(arguments))
        check_objectives(self._config)
        study = open_study(self._config)
        folder = Path(self._config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        _give_back_stale(study)
        number = 0
        while trials := _ask(study, space, most=self._num_at_once, in_all=self._num_trials):
            jobs = [[*fixed, *as_overrides(trial.params)] for trial in trials]
            write_json(folder / TRIALS, {number + i: one.number for i, one in enumerate(trials)})
            self._loader_checks(jobs)
            try:
                returned = self._launcher.launch(jobs, initial_job_idx=number)
            except BaseException:
                for trial in trials:
                    _give_back(study, trial.number)
                raise
            for trial, job in zip(trials, returned, strict=True):
                _tell(study, trial, job.return_value)
            number += len(jobs)

    def _loader_checks(self, jobs: Sequence[Sequence[str]]) -> None:
        """A misspelt key is said before the first training, not by each."""
        for job in jobs[:1]:
            self._loader.load_sweep_config(self._config, list(job))


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
    # Processes that share a study would all begin with the same trainings.
    seed = None if wanted.study else wanted.seed
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    asked: dict[str, Any] = {
        "study_name": wanted.study or Path(config.hydra.sweep.dir).name,
        "load_if_exists": True,
        "directions": list(objectives(config).values()),
        "sampler": optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True),
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
                return optuna.create_study(storage=_storage(wanted.storage), **(asked | more))
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(
            f"the study's database {tracking.without_password(wanted.storage)} cannot be used: "
            f"{reason}; start it, or set OPTUNA_STORAGE to another"
        ) from error
    raise AssertionError("unreachable")


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


def read_space(overrides: Sequence[Override]) -> "tuple[list[str], dict[str, BaseDistribution]]":
    """What is the same for all trainings, and what is searched: key → distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    fixed: list[str] = []
    space: dict[str, BaseDistribution] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            fixed.append(f"{key}={override.get_value_element_as_str()}")
            continue
        sweep = override.value()
        tags = getattr(sweep, "tags", None) or set()
        if isinstance(sweep, IntervalSweep):
            low, high = sweep.start, sweep.end
            log = "log" in tags
            if isinstance(low, int) and isinstance(high, int):
                space[key] = IntDistribution(low, high, log=log)
            else:
                space[key] = FloatDistribution(float(low or 0), float(high or 0), log=log)
        elif isinstance(sweep, RangeSweep) and all(
            isinstance(part, int) for part in (sweep.start, sweep.stop, sweep.step)
        ):
            values = list(sweep.range())
            space[key] = IntDistribution(int(values[0]), int(values[-1]), step=int(sweep.step))
        else:
            space[key] = CategoricalDistribution(list(override.sweep_string_iterator()))
    if not space:
        raise ValueError("nothing is searched; give a key a choice, a range or an interval")
    return fixed, space


def as_overrides(params: dict[str, Any]) -> list[str]:
    """A trial's parameters as one would type them: four digits tell any two of them apart."""
    return [f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items()]


def _ask(
    study: "optuna.Study", space: "dict[str, BaseDistribution]", *, most: int, in_all: int
) -> "list[optuna.Trial]":
    """The next trials; fewer, or none, where the study has as many as it should."""
    trials: list[optuna.Trial] = []
    while len(trials) < most:
        trial = study.ask(space)
        counted = [one.number for one in study.get_trials(deepcopy=False) if _counts(one)]
        if sum(number <= trial.number for number in counted) > in_all:
            _give_back(study, trial.number, again=False)  # others have asked for the last ones
            break
        trial.set_user_attr(WORKER, _worker())
        trials.append(trial)
    return trials


def _counts(trial: "optuna.trial.FrozenTrial") -> bool:
    from optuna.trial import TrialState

    return VOID not in trial.user_attrs and trial.state != TrialState.WAITING


def _tell(study: "optuna.Study", trial: "optuna.Trial", value: Any) -> None:
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


def _give_back_stale(study: "optuna.Study") -> None:
    """Trials of processes of this machine that were killed: to be trained, not lost."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        host, _, process = trial.user_attrs.get(WORKER, "").partition(" ")
        if host == socket.gethostname() and process not in _processes():
            _give_back(study, trial.number)


def _give_back(study: "optuna.Study", number: int, *, again: bool = True) -> None:
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


def _worker() -> str:
    process = psutil.Process(os.getpid())
    return f"{socket.gethostname()} {_name(process)}"


def _processes() -> set[str]:
    return {_name(process) for process in psutil.process_iter(["create_time"])}


def _name(process: psutil.Process) -> str:
    """A process's number is used again; not in the same second."""
    return f"{process.pid}@{int(process.create_time())}"
