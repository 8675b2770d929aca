"""The trainings in MLflow as a table: what `digits runs` shows, the best first."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from digits.settings import CONF

# What can be sorted by: MLflow's name for it, and which way is better.
SORTS = {
    "validation": "metrics.`bundle/val_accuracy` DESC",
    "test": "metrics.`test/accuracy` DESC",
    "corrupted": "metrics.`test/mean_corrupted_accuracy` DESC",
    "parameters": "metrics.`bundle/num_parameters` ASC",
    "started": "attributes.start_time DESC",
}
TAGS = ("model", "dataset", "data_digest", "git_commit", "fallback")
# Tags, and the folders of conf/ that their values are files in.
NAMED = {"model": ("model", "experiment"), "dataset": ("data",)}
MOST_LOOKED_AT = 50  # runs whose parameters are known when one is misspelt


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training as a line of the table; None is what it does not have."""

    run_id: str
    name: str
    dataset: str | None
    state: str
    validation: float | None
    test: float | None
    corrupted: float | None
    parameters: int | None
    seconds: float | None  # from start to end
    started: str  # local time


def search(
    *,
    where: Sequence[str] = (),
    clauses: Sequence[str] = (),
    sort: str = "validation",
    most: int = 20,
    everywhere: bool = False,
) -> list[Training]:
    """The trainings of the experiment, or of all of them, that have each KEY=VALUE in `where`.

    `clauses` are more of MLflow's own filter language. A key is a tag in TAGS, `status`, or a
    parameter such as `optimizer.lr`. The store sorts and
    filters, so that a thousand runs are as quick as ten. ValueError names what no run has;
    TrackingError says that the store cannot be used.
    """
    from digits.runs import tracking

    # A sweep's own run has no model.
    clauses = ["tags.model != ''", *clauses, *map(_clause, where)]
    tracking.check_reachable()
    with tracking.talking_to_server():
        client = tracking.client()
        ids = tracking.experiment_ids(everywhere=everywhere)
        if not ids:
            return []
        found = client.search_runs(
            ids, " and ".join(clauses), max_results=most, order_by=[SORTS[sort]]
        )
        if not found and where:
            runs = client.search_runs(ids, clauses[0], max_results=MOST_LOOKED_AT)
            _expect_known(where, runs)
    return [_training(run) for run in found]


def _clause(condition: str) -> str:
    """KEY=VALUE in MLflow's filter language."""
    key, equals, value = condition.partition("=")
    if not equals or not key or "`" in key:
        raise ValueError(f"a condition is KEY=VALUE, such as seed=1; got {condition!r}")
    quote = '"' if "'" in value else "'"
    if quote in value:
        raise ValueError(f"a value may have quotes of one kind only; got {condition!r}")
    if key == "status":
        return f"attributes.status = {quote}{value.upper()}{quote}"
    kind = "tags" if key in TAGS else "params"
    return f"{kind}.`{key}` = {quote}{value}{quote}"


def _expect_known(where: Sequence[str], runs: Sequence[Any]) -> None:
    """Raise ValueError for a key that no run has, or a model, data set or status nobody knows."""
    params = {key for run in runs for key in run.data.params}
    values = {
        "status": {"running", "scheduled", "finished", "failed", "killed"},
    }
    for key, folders in NAMED.items():
        files = [path.stem for folder in folders for path in (CONF / folder).glob("*.yaml")]
        values[key] = {*files, *(run.data.tags[key] for run in runs if key in run.data.tags)}
    for key, _, value in (condition.partition("=") for condition in where):
        known = {*params, *TAGS, "status"}
        if params and key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"no run has {key!r}{hint}")
        asked = value.lower() if key == "status" else value
        if values.get(key) and asked not in values[key]:
            same = [one for one in values[key] if one.lower() == value.lower()]
            near = same or difflib.get_close_matches(value, values[key], n=2)
            meant = near or sorted(values[key])
            raise ValueError(f"no run has {key}={value}; there is {key}={' or '.join(meant)}")


def _training(run: Any) -> Training:
    metrics, info = run.data.metrics, run.info
    num_parameters = metrics.get("bundle/num_parameters")
    return Training(
        run_id=info.run_id,
        name=info.run_name,
        dataset=run.data.tags.get("dataset"),
        state=info.status.lower(),
        validation=metrics.get("bundle/val_accuracy"),
        test=metrics.get("test/accuracy"),
        corrupted=metrics.get("test/mean_corrupted_accuracy"),
        parameters=None if num_parameters is None else int(num_parameters),
        seconds=(info.end_time - info.start_time) / 1000 if info.end_time else None,
        started=local_time(info.start_time),
    )


def local_time(milliseconds: float) -> str:
    """MLflow's time as a person here writes it, to the minute."""
    return datetime.fromtimestamp(milliseconds / 1000).isoformat(" ", "minutes")


HEADS = (
    *("run", "name", "images", "state", "validation", "test", "corrupted", "parameters"),
    *("time", "started"),
)


def cells(training: Training) -> list[str]:
    """A line of the table, under HEADS; a run is named by as much as tells it from others."""

    def percent(share: float | None) -> str:
        return "" if share is None else f"{share:.2%}"

    return [
        training.run_id[:8],
        training.name,
        training.dataset or "",
        training.state,
        *map(percent, (training.validation, training.test, training.corrupted)),
        "" if training.parameters is None else f"{training.parameters:,}",
        "" if training.seconds is None else f"{training.seconds:,.0f} s",
        training.started,
    ]
