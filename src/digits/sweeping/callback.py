"""A sweep as one MLflow run with its trainings below it; Hydra calls this around `train -m`."""

import contextlib
import uuid
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from digits.runs import sweeps, tracking, unsent
from digits.sweeping import place, studies
from digits.sweeping.groups import MOST_LISTED, best, group, summary

_open: list[place.Place] = []  # the sweep whose parent run is not closed yet, if there is one
_failed: list[int] = []  # of the sweep that has ended


class SweepRun(Callback):
    """Opens the parent run before the first training, or again, and sums up after the last."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        asked = " ".join(config.hydra.overrides.task)
        folder = Path(config.hydra.sweep.dir)
        # A store that cannot be reached is told of by each training, in one sentence.
        with contextlib.suppress(tracking.TrackingError):
            tracking.check_reachable()
            known = place.read(folder)
            shared = studies.parent_run(config)
            worker = (known and known.worker) or uuid.uuid4().hex
            run_id = sweeps.start(
                name=f"sweep {asked}",
                again=shared or (known.run_id if known and known.digest else None),
                worker=worker,
            )
            studies.keep_parent_run(config, run_id)
            _open[:] = [place.note(folder, run_id=run_id, worker=worker)]

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        num_failed = len(place.failures(folder))
        _failed[:] = [num_failed]
        if not _open:
            return
        run_id = _open[0].run_id
        assert run_id
        children = _children(run_id)
        groups = group(children)
        winners = best(groups, small_too="num_parameters" in studies.objectives(config))
        num_given_up = sum(child.given_up for child in children)
        text = summary(groups, winners, num_failed=num_failed, num_given_up=num_given_up)
        metrics: dict[str, float] = {
            "num_trainings": len(children),
            "num_failed": num_failed,
            "num_given_up": num_given_up,
        }
        if groups:
            metrics["best/val_accuracy_mean"] = groups[0].mean
            if groups[0].sd is not None:
                metrics["best/val_accuracy_sd"] = groups[0].sd
        sweeps.report(run_id, metrics=metrics, text=text, figures=_draw(groups, children))
        sweeps.mark_best(
            run_id,
            children,
            names=[each.name for each in winners],
            run_ids=[one for each in winners for one in each.run_ids],
        )
        status = "FINISHED" if groups else "FAILED"
        num_others = sweeps.leave(run_id, status, worker=_open[0].worker)
        _open.clear()
        missed = any(unsent.holds(child.run_id) for child in children)
        place.note(folder, finished=num_failed == 0 and not missed)
        print(f"\n{text}\nrun {run_id}{_going_on(num_others)}", flush=True)


def num_failed() -> int:
    """How many trainings of the sweep that this process ran have failed."""
    return _failed[0] if _failed else 0


def close_what_was_stopped() -> None:
    """Mark a sweep that an interrupt or an error cut off, and what was trained in it just then.

    What other workers of the same study train goes on, and with it the run that is theirs, too.
    """
    if _open:
        with contextlib.suppress(tracking.TrackingError):
            stopped = _open.pop()
            assert stopped.run_id
            sweeps.leave(stopped.run_id, "KILLED", worker=stopped.worker)


def _going_on(num_others: int) -> str:
    """What is said of a search's run that stays open; nothing where it is closed."""
    if not num_others:
        return ""
    others = "another worker is" if num_others == 1 else f"{num_others} other workers are"
    return f", open until {others} done with the same search"


def _children(run_id: str) -> list[sweeps.Child]:
    """A sweep's trainings, once MLflow has been sent what it missed of them: how they ended."""
    children = sweeps.children(run_id)
    kept = [child.run_id for child in children if unsent.holds(child.run_id)]
    for each in kept:
        with contextlib.suppress(tracking.TrackingError, OSError):  # `digits sync` says why
            unsent.send(each)
    return sweeps.children(run_id) if kept else children


def _draw(groups: list[Any], children: list[sweeps.Child]) -> dict[str, Any]:
    if not groups:
        return {}
    from digits.reporting import figures
    from digits.sweeping import plots

    boxes = figures.box_plot({each.name: each.accuracies for each in groups[:MOST_LISTED]})
    return {"val_accuracy.png": boxes, **plots.of_search(children)}
