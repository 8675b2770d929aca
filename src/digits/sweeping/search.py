"""A search: Optuna chooses the next trainings of a sweep by what the last ones reached.

`hydra/sweeper=optuna` makes a sweep a search; what is searched is written as Hydra writes sweeps:
`model=tiny,cnn`, `training.epochs=range(4,13,4)`, `optimizer.lr=tag(log,interval(0.001,0.05))`.
Hydra's launcher trains, so that cores, a Ray cluster or SLURM are a word away here too; and several
processes may work on one study, wherever its database is.

Hydra's own Optuna plugin is not used: docs/decisions.md.
"""

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from digits.files import write_json
from digits.sweeping import place, results, studies, trials

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

TRIALS = "trials.json"  # which trial of the study each training of the batch is


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
        """Train until the study has `num_trials`; those of an earlier start count.

        What failed in an earlier start is tried again first.
        """
        parser = OverridesParser.create(config_loader=self._loader)
        fixed, space = read_space(parser.parse_overrides(arguments))
        studies.check_objectives(self._config)
        study = studies.open_study(self._config)
        folder = Path(self._config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        known = place.read(folder)
        sweep = known.worker if known else ""
        with self._database():
            trials.give_back_stale(study, sweep=sweep if place.is_kept(folder) else None)
            trials.try_again(study, sweep=sweep)
        results.forget_failures(folder)  # whoever trains it now
        number = 0
        while asked := self._next(study, space, sweep=sweep):
            # Equal ones once: side by side they would write the same folder.
            trained: dict[tuple[str, ...], list[optuna.Trial]] = {}
            for trial in asked:
                trained.setdefault((*fixed, *as_overrides(trial.params)), []).append(trial)
            jobs = [list(words) for words in trained]
            first = {number + i: same[0].number for i, same in enumerate(trained.values())}
            write_json(folder / TRIALS, first)
            try:
                returned = self._launcher.launch(jobs, initial_job_idx=number)
            except BaseException:
                # Without the database, the next start gives them back.
                with contextlib.suppress(*studies.failures()):
                    for trial in asked:
                        trials.give_back(study, trial.number)
                raise
            with self._database():
                for same, job in zip(trained.values(), returned, strict=True):
                    for trial in same:
                        trials.tell(study, trial, job.return_value)
            number += len(jobs)

    def _next(
        self, study: "optuna.Study", space: "dict[str, BaseDistribution]", *, sweep: str
    ) -> "list[optuna.Trial]":
        """The trainings that come next, at the end those that others have left; or none."""

        def ask() -> "list[optuna.Trial]":
            return trials.ask(
                study, space, most=self._num_at_once, in_all=self._num_trials, sweep=sweep
            )

        with self._database():
            return ask() or (ask() if trials.give_back_stale(study) else [])

    def _database(self) -> AbstractContextManager[None]:
        return studies.needing(self._config.hydra.sweeper.storage)


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
            try:
                if isinstance(low, int) and isinstance(high, int):
                    space[key] = IntDistribution(low, high, log=log)
                else:
                    space[key] = FloatDistribution(float(low or 0), float(high or 0), log=log)
            except ValueError as error:
                raise ValueError(f"{override.input_line}: {error}") from None
        elif isinstance(sweep, RangeSweep) and all(
            isinstance(part, int) for part in (sweep.start, sweep.stop, sweep.step)
        ):
            values = list(sweep.range())
            if not values:
                raise ValueError(
                    f"{override.input_line} has nothing in it; give it an end after its start"
                )
            low, high = sorted((int(values[0]), int(values[-1])))
            space[key] = IntDistribution(low, high, step=abs(int(sweep.step)))
        else:
            space[key] = CategoricalDistribution(list(override.sweep_string_iterator()))
    if not space:
        raise ValueError("nothing is searched; give a key a choice, a range or an interval")
    return fixed, space


def as_overrides(params: dict[str, Any]) -> list[str]:
    """A trial's parameters as one would type them: four digits tell any two of them apart."""
    return [f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items()]
