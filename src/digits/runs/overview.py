"""MLflow's own list of the trainings, with the columns that matter and the best first."""

import json

from digits.runs import listing, tracking

# What MLflow's pages write when somebody shares a view of theirs, and read by a link's key.
VIEW_TAG = "mlflow.sharedViewState"
KEY = "trainings"
WIDTH = 160  # px of a column: a metric's name


def view() -> dict[str, object]:
    """What is sorted by and shown: the columns of `digits runs`."""
    orders = dict(order.split() for order in listing.SORTS.values())
    metrics = [name for name in orders if name.startswith("metrics.")]
    columns = ["tags.`dataset`", *metrics]  # figures of different images do not compare
    return {
        "orderByKey": metrics[0],
        "orderByAsc": orders[metrics[0]] == "ASC",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, WIDTH),
    }


def page() -> str:
    """Where MLflow's pages list the trainings, after its address; their view is kept beside them.

    Raises TrackingError when the store cannot be used.
    """
    tracking.check_reachable()
    with tracking.talking_to_server():
        experiment_id = tracking.experiment_id()
        client = tracking.client()
        tag, wanted = f"{VIEW_TAG}.{KEY}", json.dumps(view())
        if client.get_experiment(experiment_id).tags.get(tag) != wanted:
            client.set_experiment_tag(experiment_id, tag, wanted)
    query = f"workflowType=machine_learning&viewStateShareKey={KEY}"
    return f"#/experiments/{experiment_id}/runs?{query}"
