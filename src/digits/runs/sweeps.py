"""The parent run of a sweep in MLflow, and what is known of its children."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from digits.files import write_json
from digits.runs import tracking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARENT = "mlflow.parentRunId"  # the tag by which MLflow's pages nest runs
OVERRIDES = "overrides"
SCORE = "bundle/val_accuracy"


@dataclass(frozen=True, kw_only=True)
class Child:
    """One training of a sweep; its accuracy is None when it did not finish."""

    run_id: str
    status: str
    overrides: tuple[str, ...]
    val_accuracy: float | None


def start(folder: Path, *, name: str) -> str:
    """Open a parent run and note it in the sweep's folder, where its trainings find it.

    In a file and not in this process, so that a training on another machine finds it too.
    """
    with tracking.talking_to_server():
        parent = tracking.client().create_run(tracking.experiment_id(), run_name=name)
    run_id: str = parent.info.run_id
    folder.mkdir(parents=True, exist_ok=True)
    write_json(_state(folder), {"run_id": run_id})
    return run_id


def child_tags(folder: Path, overrides: list[str]) -> dict[str, str]:
    """The tags of a training of the sweep in this folder; none where no parent run was opened."""
    try:
        parent: str = json.loads(_state(folder).read_text(encoding="utf-8"))["run_id"]
    except FileNotFoundError:
        return {}
    return {PARENT: parent, OVERRIDES: "\n".join(overrides)}


def children(run_id: str) -> list[Child]:
    """The trainings of a sweep, in the order in which they began."""
    with tracking.talking_to_server():
        found = tracking.client().search_runs(
            [tracking.experiment_id()],
            f"tags.`{PARENT}` = '{run_id}'",
            max_results=50_000,
            order_by=["attributes.start_time"],
        )
    return [
        Child(
            run_id=run.info.run_id,
            status=run.info.status,
            overrides=tuple(run.data.tags.get(OVERRIDES, "").splitlines()),
            val_accuracy=run.data.metrics.get(SCORE) if run.info.status == "FINISHED" else None,
        )
        for run in found
    ]


def report(run_id: str, *, metrics: dict[str, float], text: str, figure: "Figure | None") -> None:
    """Log what a sweep came to on its parent run; `text` is Markdown, and its description."""
    with tracking.talking_to_server():
        client = tracking.client()
        for name, value in metrics.items():
            client.log_metric(run_id, name, value)
        client.set_tag(run_id, tracking.NOTE, text)
        client.log_text(run_id, text, "summary.md")
        if figure is not None:
            client.log_figure(run_id, figure, "val_accuracy.png")


def end(run_id: str, status: str) -> None:
    """Close a parent run as FINISHED, FAILED or KILLED."""
    with tracking.talking_to_server():
        tracking.client().set_terminated(run_id, status)


def _state(folder: Path) -> Path:
    return folder / "sweep.json"
