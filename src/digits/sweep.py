"""A sweep as one MLflow run with its trainings below it; Hydra calls this around `train -m`.

Trainings that differ in nothing but their seed or fold are a group: what they reached is its mean
and standard deviation, and groups are compared, never their luckiest member.
"""

import contextlib
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from digits.runs import sweeps, tracking

REPEATS = ("seed=", "fold=")  # what makes another training of the same group
_open: list[str] = []  # the parent run that is not closed yet, if there is one


@dataclass(frozen=True, kw_only=True)
class Group:
    """Validation accuracies of trainings that differ in seed or fold alone."""

    name: str
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation; None of one training."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def __str__(self) -> str:
        spread = "" if self.sd is None else f" ± {self.sd * 100:.2f}"
        return f"{self.mean:.2%}{spread} (n = {len(self.accuracies)})"


class SweepRun(Callback):
    """Opens the parent run before the first training, and sums up after the last."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        asked = " ".join(config.hydra.overrides.task)
        # A store that cannot be reached is told of by each training, in one sentence.
        with contextlib.suppress(tracking.TrackingError):
            tracking.check_reachable()
            _open[:] = [sweeps.start(Path(config.hydra.sweep.dir), name=f"sweep {asked}")]

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        if not _open:
            return
        run_id = _open[0]
        children = sweeps.children(run_id)
        groups = group(children)
        num_failed = sum(child.val_accuracy is None for child in children)
        text = summary(groups, num_failed=num_failed)
        metrics: dict[str, float] = {"num_trainings": len(children), "num_failed": num_failed}
        if groups:
            metrics["best/val_accuracy_mean"] = groups[0].mean
            if groups[0].sd is not None:
                metrics["best/val_accuracy_sd"] = groups[0].sd
        sweeps.report(run_id, metrics=metrics, text=text, figure=_draw(groups))
        _close("FINISHED" if groups else "FAILED")
        print(f"\n{text}\nrun {run_id}", flush=True)


def group(children: list[sweeps.Child]) -> list[Group]:
    """The groups of the trainings that finished, the best mean first."""
    reached: dict[str, list[float]] = {}
    for child in children:
        if child.val_accuracy is not None:
            varied = [part for part in child.overrides if not part.startswith(REPEATS)]
            reached.setdefault(" ".join(varied) or "all", []).append(child.val_accuracy)
    groups = [Group(name=name, accuracies=tuple(values)) for name, values in reached.items()]
    return sorted(groups, key=lambda group: -group.mean)


def summary(groups: list[Group], *, num_failed: int) -> str:
    """A Markdown table of the groups, readable in a terminal too."""
    width = max((len(group.name) for group in groups), default=0)
    lines = [f"| {'trainings':<{width}} | validation accuracy |", f"|{'-' * (width + 2)}|---:|"]
    lines += [f"| {group.name:<{width}} | {group} |" for group in groups]
    if num_failed:
        lines += ["", f"{num_failed} did not finish."]
    return "\n".join(lines)


def close_what_was_stopped() -> None:
    """Mark a sweep that an interrupt or an error cut off."""
    if _open:
        with contextlib.suppress(tracking.TrackingError):
            _close("KILLED")


def _close(status: str) -> None:
    sweeps.end(_open.pop(), status)


def _draw(groups: list[Group]) -> Any:
    if not groups:
        return None
    from digits.reporting import figures

    return figures.box_plot({group.name: group.accuracies for group in groups})
