"""The parent run of a sweep in MLflow, and what is known of its children."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digits.runs import tracking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARENT = "mlflow.parentRunId"  # the tag by which MLflow's pages nest runs
OVERRIDES = "overrides"
WORKER = "sweep_worker"  # which of those that share a search trains it
AT_WORK = "at_work/"  # and a worker's name: the tag of the parent run for as long as it is at it
FAILED = "failed/"  # and a worker's name: the tag of the parent run with a line for each
LONGEST_TAG = 8000  # characters that MLflow keeps
BEST = "best_of_sweep"
SCORE = "bundle/val_accuracy"
SIZE = "bundle/num_parameters"
EPOCH_S = "epoch_s"


@dataclass(frozen=True, kw_only=True)
class Child:
    """One training of a sweep; its accuracy is None when it did not finish."""

    run_id: str
    status: str
    overrides: tuple[str, ...]
    val_accuracy: float | None
    num_parameters: int | None = None
    seed: str | None = None  # whether it was asked for or not
    train_s: float | None = None  # where it was wanted to be known
    given_up: bool = False
    worker: str = ""
    best: bool = False  # as marked when the sweep was summed up before


def start(*, name: str, again: str | None, worker: str) -> str:
    """Open a parent run, or the one of a sweep that stopped or is shared.

    That goes on if this store has it still, in the experiment that trainings are logged to.
    """
    at_work = f"{AT_WORK}{worker}"
    with tracking.talking_to_server():
        client = tracking.client()
        experiment_id = tracking.experiment_id()
        if again and tracking.exists(again, experiment_id=experiment_id):
            client.set_tag(again, at_work, "true")
            client.update_run(again, status="RUNNING")
            return again
        run_id: str = client.create_run(
            experiment_id, run_name=name, tags={at_work: "true"}
        ).info.run_id
    return run_id


def elsewhere(run_id: str) -> str | None:
    """The experiment of a run, where trainings are logged to another; None of no run."""
    with tracking.talking_to_server():
        if not tracking.exists(run_id):
            return None
        client = tracking.client()
        own = client.get_run(run_id).info.experiment_id
        if own in tracking.experiment_ids(everywhere=False):
            return None
        return str(client.get_experiment(own).name)


def child_tags(parent: str | None, overrides: list[str], *, worker: str) -> dict[str, str]:
    """The tags of a training of a sweep; none where no parent run was opened."""
    if parent is None:
        return {}
    return {PARENT: parent, OVERRIDES: "\n".join(overrides), WORKER: worker}


def children(run_id: str, *, timed: bool = False) -> list[Child]:
    """The trainings of a sweep, in the order in which they began.

    How long each took is a question of its own to MLflow, asked where they are to be `timed`.
    """
    with tracking.talking_to_server():
        client = tracking.client()
        # Two where somebody has renamed the first since.
        own = client.get_run(run_id).info.experiment_id
        found = client.search_runs(
            [*{own, *tracking.experiment_ids(everywhere=False)}],
            f"tags.`{PARENT}` = '{run_id}'",
            max_results=50_000,
            order_by=["attributes.start_time"],
        )
        epochs = {
            run.info.run_id: client.get_metric_history(run.info.run_id, EPOCH_S)
            for run in found
            if timed
        }
    return [
        Child(
            run_id=run.info.run_id,
            status=run.info.status,
            overrides=tuple(run.data.tags.get(OVERRIDES, "").splitlines()),
            val_accuracy=run.data.metrics.get(SCORE) if run.info.status == "FINISHED" else None,
            num_parameters=_whole(run.data.metrics.get(SIZE)),
            seed=run.data.params.get("seed"),
            train_s=sum(each.value for each in epochs.get(run.info.run_id, [])) or None,
            given_up=tracking.GIVEN_UP in run.data.tags,
            worker=run.data.tags.get(WORKER, ""),
            best=BEST in run.data.tags,
        )
        for run in found
    ]


def report(
    run_id: str, *, metrics: dict[str, float], text: str, figures: "Mapping[str, Figure]"
) -> None:
    """Log what a sweep came to on its parent run; `text` is Markdown, and its description."""
    with tracking.talking_to_server():
        client = tracking.client()
        for name, value in metrics.items():
            client.log_metric(run_id, name, value)
        client.set_tag(run_id, tracking.NOTE, text)
        client.log_text(run_id, text, "summary.md")
        for name, figure in figures.items():
            client.log_figure(run_id, figure, name, save_kwargs={"bbox_inches": "tight"})


def failed(run_id: str, lines: Sequence[str], *, worker: str) -> list[str]:
    """Note which of a worker's trainings failed and why; returns those of all its workers."""
    tag = f"{FAILED}{worker}"
    with tracking.talking_to_server():
        client = tracking.client()
        if lines:
            longest = LONGEST_TAG // len(lines) - 1
            client.set_tag(run_id, tag, "\n".join(line[:longest] for line in lines))
        elif tag in client.get_run(run_id).data.tags:
            client.delete_tag(run_id, tag)
        tags = client.get_run(run_id).data.tags
    noted = [tags[name] for name in sorted(tags) if name.startswith(FAILED)]
    return [line for text in noted for line in text.split("\n")]


def mark_best(
    run_id: str, children: Sequence[Child], *, names: Sequence[str], run_ids: Sequence[str]
) -> None:
    """Say on the parent run and on its trainings which are the best, and no longer which were."""
    with tracking.talking_to_server():
        client = tracking.client()
        client.set_tag(run_id, "best", "; ".join(names))
        client.set_tag(run_id, "best_run_ids", ",".join(run_ids))
        for child in children:
            if child.run_id in run_ids and not child.best:
                client.set_tag(child.run_id, BEST, "true")
            elif child.best and child.run_id not in run_ids:
                client.delete_tag(child.run_id, BEST)


def end(run_id: str, status: str) -> None:
    """Close a run as FINISHED, FAILED or KILLED."""
    with tracking.talking_to_server():
        tracking.client().set_terminated(run_id, status)


def finish(run_id: str) -> bool:
    """Close a training as FINISHED where it is not yet; False where the experiment has no such."""
    with tracking.talking_to_server():
        if not tracking.exists(run_id, experiment_id=tracking.experiment_id()):
            return False
        state = tracking.client().get_run(run_id).info.status
    if state != "FINISHED":
        end(run_id, "FINISHED")
    return True


def leave(run_id: str, status: str, *, worker: str) -> int:
    """A worker stops training in a sweep; how many others go on.

    What of its own is still open was stopped; the sweep's run ends as `status` if nobody goes on.
    """
    with tracking.talking_to_server():
        client = tracking.client()
        if f"{AT_WORK}{worker}" in client.get_run(run_id).data.tags:
            client.delete_tag(run_id, f"{AT_WORK}{worker}")
        # Read after that: of two that leave at once, the later sees that nobody is left.
        tags = client.get_run(run_id).data.tags
        num_others = len([name for name in tags if name.startswith(AT_WORK)])
    for child in children(run_id):
        if child.status == "RUNNING" and child.worker == worker:
            end(child.run_id, "KILLED")
    if not num_others:
        end(run_id, status)
    return num_others


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
