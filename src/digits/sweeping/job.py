"""A training as a part of a sweep: whether it is done already, and what it tells a search."""

import json
import sys
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import OmegaConf

from digits.files import replacing
from digits.runs import sweeps, tracking, unsent
from digits.sweeping import place, results, search, studies


class Job:
    """One training, of a sweep or by itself; `hydra` is Hydra's own part of its configuration."""

    def __init__(self, hydra: Any, *, out: Path) -> None:
        self.swept = hydra.mode is RunMode.MULTIRUN
        self.asked = list(hydra.overrides.task)
        self._out = out
        self._own = Path(hydra.runtime.output_dir)  # what Hydra keeps for it, wherever `out` is
        self._config = OmegaConf.create({"hydra": hydra})
        self._folder = Path(hydra.sweep.dir) if self.swept else None
        self._trial: Any = None  # Optuna's, of a search, from the first epoch on
        self._unjudged = False  # whether the search's database has failed

    def tags(self) -> dict[str, str]:
        """What MLflow knows of the sweep that the training belongs to."""
        known = place.read(self._folder) if self._folder else None
        return sweeps.child_tags(known.run_id, self.asked, worker=known.worker) if known else {}

    def done(self) -> dict[str, Any] | None:
        """What the training came to where the sweep has it already; None where it has not."""
        known = place.read(self._folder) if self._folder else None
        if known is None or not known.digest:
            return None  # a folder that was named may hold another sweep's trainings
        if self._out.resolve() != self._own.resolve():
            return None  # and an `out` that was given any training at all
        result = results.read(self._out)
        if result is None:
            return None
        unsent.send(result["run_id"])
        if not sweeps.finish(result["run_id"]):  # a kill may have come just before it was finished
            return None  # a store that was emptied: there is nothing for the sweep to sum up
        return result

    def failed(self, sentence: str) -> None:
        """Note, in the training's own folder, why it failed."""
        with replacing(self._own / results.ERROR) as beside:
            beside.write_text(f"{sentence}\n", encoding="utf-8")

    def began(self) -> None:
        """Forget why an earlier start of it failed."""
        if self.swept:
            (self._own / results.ERROR).unlink(missing_ok=True)

    def epoch(self, row: dict[str, float]) -> None:
        """Tell the search what an epoch came to; raises GivenUp where that is too little."""
        if not self.swept or len(objectives := [*studies.objectives(self._config)]) != 1:
            return
        if objectives[0] not in row:  # known at the end only
            return
        if self._behind(row[objectives[0]], int(row["epoch"])):
            raise tracking.GivenUp(int(row["epoch"]))

    def _behind(self, value: float, epoch: int) -> bool:
        """Whether the search would give it up; nothing is, while its database cannot be used."""
        try:
            if self._trial is None:
                self._trial = studies.trial_of(self._config, self._trial_number())
            self._trial.report(value, epoch)
            return bool(self._trial.should_prune())
        except studies.failures() as error:
            if not self._unjudged:
                told = studies.without(self._config.hydra.sweeper.storage, error)
                print(f"{told}; nothing is given up until it can", file=sys.stderr, flush=True)
            self._unjudged = True
            return False

    def _trial_number(self) -> int:
        """Which trial of the study it is."""
        trials = Path(self._config.hydra.sweep.dir) / search.TRIALS
        number: int = json.loads(trials.read_text(encoding="utf-8"))[
            str(self._config.hydra.job.num)
        ]
        return number

    def value(self, result: dict[str, Any]) -> float | tuple[float, ...]:
        """What a sweeper is told: the accuracy on the validation images, or each objective."""
        wanted = [*studies.objectives(self._config)] or ["val_accuracy"]
        values = tuple(studies.OBJECTIVES[name](result) for name in wanted)
        return values[0] if len(values) == 1 else values
