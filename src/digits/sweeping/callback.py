"""A sweep as one MLflow run with its trainings below it; Hydra calls this around `train -m`."""

import contextlib
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from digits import overrides
from digits.runs import labels, sweeps, tracking, unsent
from digits.settings import Mistaken
from digits.sweeping import composing, place, results, studies
from digits.sweeping.groups import ACCURATE, MOST_LISTED, Group, best, group, reasons, summary

_open: list[place.Place] = []  # the sweep whose parent run is not closed yet, if there is one
_complaints: list[str] = []  # of the sweep that has ended: why all is not well


class PastHydra(BaseException):
    """An error on its way out of a callback: of an Exception there Hydra makes a warning."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def _past_hydra() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise PastHydra(error) from error


@contextlib.contextmanager
def told_of() -> Iterator[None]:
    """Around Hydra: what a callback raised is raised here."""
    try:
        yield
    except PastHydra as past:
        # Raised here, the error has `past` as its context: it must not be a cause of itself.
        past.__cause__ = past.__context__ = None
        raise past.error from past.error.__cause__


class SweepRun(Callback):
    """Opens the parent run before the first training, or again, and sums up after the last.

    Of a training that is no part of a sweep it notes the folder.
    """

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if config.hydra.mode == RunMode.RUN:
            place.run_in(Path(config.hydra.runtime.output_dir))

    @_past_hydra()
    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        composing.expect_composed(config)
        begin(config)

    @_past_hydra()
    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        run_id, worker = _open[0].run_id, _open[0].worker
        assert run_id
        objectives = studies.objectives(config) or ACCURATE
        failed = results.failed(folder)
        away: tracking.TrackingError | None = None
        try:
            children = _children(run_id, timed="train_s" in objectives)
            failures = sweeps.failed(run_id, reasons(failed, children), worker=worker)
        except tracking.TrackingError as error:  # what the folder has is worth a table all the same
            children, away = results.trained(folder), error
            failures = reasons(failed, children)
        groups = group(children)
        winners = best(groups, objectives)
        num_given_up = sum(child.given_up for child in children)
        text = summary(groups, winners, failures=failures, num_given_up=num_given_up)
        num_others = 0
        if away is None:
            counts = {"num_failed": len(failures), "num_given_up": num_given_up}
            try:
                _report(run_id, children, groups, winners, text=text, counts=counts)
                status = "FINISHED" if groups else "FAILED"
                num_others = sweeps.leave(run_id, status, worker=worker)
            except tracking.TrackingError as error:
                away = error
        _open.clear()  # one that was not told how it ended stays open until the sweep goes on
        missed = any(unsent.holds(child.run_id) for child in children)
        place.note(folder, finished=not (failed or missed or away))
        print(f"\n{text}\nrun {run_id}{_going_on(num_others)}", flush=True)
        _complaints[:] = _not_well(away, num_failed=len(failed))


def begin(config: DictConfig) -> None:
    """Open the sweep's run, or the one that it has; its folder says which.

    Mistaken where that of a study is in another experiment than its trainings would be.
    """
    asked = " ".join(config.hydra.overrides.task)
    folder = Path(config.hydra.sweep.dir)
    tracking.check_reachable()
    known = place.read(folder)
    shared = studies.parent_run(config)
    if shared and (experiment := sweeps.elsewhere(shared)):
        raise Mistaken(
            f"the study {studies.name(config)!r} is of the MLflow experiment {experiment!r}, not "
            f"{tracking.experiment_name()!r}; set MLFLOW_EXPERIMENT_NAME to that, or give another "
            "hydra.sweeper.study"
        )
    worker = (known and known.worker) or uuid.uuid4().hex
    run_id = sweeps.start(
        name=labels.fitting(f"sweep {asked}"),
        again=shared or (known.run_id if known and known.digest else None),
        worker=worker,
    )
    _open[:] = [place.note(folder, run_id=run_id, worker=worker)]
    studies.keep_parent_run(config, run_id)


def complaints() -> list[str]:
    """What is not well with the sweep that this process ran, a sentence each."""
    return [*_complaints]


def close_what_was_stopped() -> None:
    """Mark a sweep that an interrupt or an error cut off, and what was trained in it just then.

    What other workers of the same study train goes on, and with it the run that is theirs, too.
    """
    if _open:
        with contextlib.suppress(tracking.TrackingError):
            stopped = _open.pop()
            assert stopped.run_id
            sweeps.leave(stopped.run_id, "KILLED", worker=stopped.worker)


def _report(
    run_id: str,
    children: Sequence[sweeps.Child],
    groups: Sequence[Group],
    winners: Sequence[Group],
    *,
    text: str,
    counts: dict[str, int],
) -> None:
    """Write what a sweep came to into its run: figures, table, plots, and which was best."""
    metrics: dict[str, float] = {"num_trainings": len(children), **counts}
    if groups:
        metrics["best/val_accuracy_mean"] = groups[0].mean
        if groups[0].sd is not None:
            metrics["best/val_accuracy_sd"] = groups[0].sd
    sweeps.report(run_id, metrics=metrics, text=text, figures=_draw(groups, children))
    names = [each.name for each in winners]
    run_ids = [one for each in winners for one in each.run_ids]
    sweeps.mark_best(run_id, children, names=names, run_ids=run_ids)


def _not_well(away: tracking.TrackingError | None, *, num_failed: int) -> list[str]:
    """Why all is not well with a sweep that has ended, a sentence each."""
    found = []
    if away:
        found.append(
            f"MLflow has no table of this sweep yet: {away.what}; when it is back, the same "
            "command writes it"
        )
    if num_failed:
        found.append(f"{num_failed} of the sweep's trainings failed, see above")
    return found


def _going_on(num_others: int) -> str:
    """What is said of a search's run that stays open; nothing where it is closed."""
    if not num_others:
        return ""
    others = "another worker is" if num_others == 1 else f"{num_others} other workers are"
    return f", open until {others} done with the same search"


def _children(run_id: str, *, timed: bool) -> list[sweeps.Child]:
    """A sweep's trainings, once MLflow has been sent what it missed of them: how they ended."""
    children = sweeps.children(run_id, timed=timed)
    kept = [child.run_id for child in children if unsent.holds(child.run_id)]
    for each in kept:
        with contextlib.suppress(tracking.TrackingError, OSError):  # `digits sync` says why
            unsent.send(each)
    return sweeps.children(run_id, timed=timed) if kept else children


def _draw(groups: Sequence[Group], children: Sequence[sweeps.Child]) -> dict[str, Any]:
    """The pictures of a sweep; one that cannot be drawn costs nothing but itself."""
    if not groups:
        return {}
    from digits.sweeping import plots

    drawn: dict[str, Any] = {}
    draw: list[Callable[[], dict[str, Any]]] = [
        lambda: plots.of_groups(groups[:MOST_LISTED]),
        lambda: plots.of_search(children),
    ]
    for each in draw:
        try:
            drawn |= each()
        except Exception as error:  # whatever matplotlib, Optuna and scikit-learn may raise
            reason = f"{type(error).__name__}: {overrides.one_line(error)}"
            print(f"train: a picture of the sweep cannot be drawn: {reason}", file=sys.stderr)
    return drawn
