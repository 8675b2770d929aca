"""The MLflow store: where it is, whether it answers, what its errors mean.

`MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME` are respected; without them runs go to
`mlflow.db` in the project's root and to the experiment `digits`.

MLflow takes seconds to import, so it is imported when a run starts, not when a stage does. What is
logged, and what becomes of it when the store does not answer, is in `recording`.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from digits.addresses import without_password
from digits.runs import interrupts
from digits.runs.reachable import why_silent

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

DEFAULT_EXPERIMENT = "digits"
# MLflow refuses longer parameter values.
LONGEST_PARAM = 6000
GIVEN_UP = "given_up"  # the tag with the epoch after which a training was
NOTE = "mlflow.note.content"  # the tag that MLflow's pages show as the description


class TrackingError(RuntimeError):
    """The tracking store cannot be used; `what` says which and why, without what to do."""

    def __init__(self, uri: str, reason: str) -> None:
        self.what = f"the MLflow store {without_password(uri)} cannot be used: {reason}"
        remedy = "mend it" if uri.startswith("sqlite") else "start it"
        super().__init__(f"{self.what}; {remedy}, or set MLFLOW_TRACKING_URI to another")


def tracking_uri() -> str:
    """Where runs are kept: `MLFLOW_TRACKING_URI`, or SQLite at the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').resolve()}"


def load() -> None:
    """Import MLflow and what it writes a model with, which takes seconds, now and not later."""
    import mlflow.pyfunc  # noqa: F401


def client() -> "MlflowClient":
    """An MLflow client for `tracking_uri`."""
    from mlflow.tracking import MlflowClient

    be_quiet_and_quick()
    _make_tables(tracking_uri())
    return MlflowClient(tracking_uri())


@functools.cache
def _make_tables(uri: str) -> None:
    """Let MLflow make the tables of a SQLite file, or bring them up to date, as it opens it.

    One process at a time: of two that begin together MLflow would let one fail.
    """
    import sqlalchemy
    from mlflow.tracking import MlflowClient

    path = sqlalchemy.make_url(uri).database if uri.startswith("sqlite") else None
    if path and os.access(Path(path).parent, os.W_OK):
        with FileLock(f"{path}.lock"):
            MlflowClient(uri)


@contextlib.contextmanager
def talking_to_server() -> Iterator[None]:
    """Turn what MLflow raises when its store cannot be used into a TrackingError.

    A signal that asks to stop waits for the end of the block.
    """
    import mlflow.exceptions
    import requests
    import sqlalchemy.exc

    failures: tuple[type[Exception], ...] = (
        mlflow.exceptions.MlflowException,
        sqlalchemy.exc.SQLAlchemyError,
        requests.RequestException,  # of artifacts that go through the server
    )
    try:
        with interrupts.deferred():
            yield
    except failures as error:
        # A server that is gone is told of in fewer words than by the client's last retry.
        reason = why_silent(tracking_uri()) or str(error).strip().splitlines()[0]
        raise TrackingError(tracking_uri(), reason) from error


def check_reachable() -> None:
    """Raise TrackingError, within seconds, when the tracking store does not answer.

    For the start of whatever will need it: nothing slow is loaded before.
    """
    uri = tracking_uri()
    reason = why_silent(uri)
    if reason is not None:
        raise TrackingError(uri, reason)


class GivenUp(Exception):
    """A training is not worth going on with: its others were better after as many epochs."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"given up after epoch {epoch}: others were better by then")
        self.epoch = epoch


def exists(run_id: str, *, experiment_id: str | None = None) -> bool:
    """Whether the tracking store knows this run: a restored cache may name one that it does not."""
    from mlflow.exceptions import MlflowException

    with talking_to_server():
        try:
            info = client().get_run(run_id).info
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
    return info.lifecycle_stage == "active" and experiment_id in (None, info.experiment_id)


def experiment_id() -> str:
    """The experiment that runs are logged to, made when there is none yet."""
    name = experiment_name()
    known = client().get_experiment_by_name(name)
    return str(known.experiment_id) if known else _create_experiment(name)


def experiment_ids(*, everywhere: bool) -> list[str]:
    """The experiment that runs are logged to, where it is made already, or all there are."""
    if everywhere:
        return [one.experiment_id for one in client().search_experiments()]
    known = client().get_experiment_by_name(experiment_name())
    return [known.experiment_id] if known else []


def experiment_name() -> str:
    """`MLFLOW_EXPERIMENT_NAME`, or `digits`."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT


def _create_experiment(name: str) -> str:
    from mlflow.exceptions import MlflowException

    # Beside the database, so that both are found from any folder; a server has a place of its own.
    here = Path("mlartifacts").resolve().as_uri() if tracking_uri().startswith("sqlite") else None
    tags = {
        NOTE: "Each run is one training of one model; its test scores are added by `evaluate`.",
        # MLflow's pages open on trainings then, not on traces of language models.
        "mlflow.experimentKind": "custom_model_development",
    }
    try:
        return str(client().create_experiment(name, here, tags))
    except MlflowException as error:
        made = client().get_experiment_by_name(name)  # by another training, just now
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or made is None:
            raise
        return str(made.experiment_id)


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def be_quiet_and_quick() -> None:
    """Settings MLflow reads from the environment; what the user set there wins."""
    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # What these would say of each retry, the TrackingError says once.
    for chatty in ("urllib3.connectionpool", "mlflow.system_metrics"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Which run it is, who logs to it says.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # An unreachable server is reported within seconds, not after seven retries of two minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "2")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
