"""One run in MLflow: what is logged of a training, and where.

`MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME` are respected; without them runs go to
`mlflow.db` in the project's root and to the experiment `digits`.

MLflow takes seconds to import, so it is imported when a run starts, not when a stage does.
"""

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from digits.runs import interrupts
from digits.runs.reachable import why_silent

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.tracking import MlflowClient

DEFAULT_EXPERIMENT = "digits"
# MLflow refuses longer parameter values.
LONGEST_PARAM = 6000
GIVEN_UP = "given_up"  # the tag with the epoch after which a training was
NOTE = "mlflow.note.content"  # the tag that MLflow's pages show as the description


class TrackingError(RuntimeError):
    """The tracking server cannot be used."""


def tracking_uri() -> str:
    """Where runs are kept: `MLFLOW_TRACKING_URI`, or SQLite at the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').resolve()}"


def load() -> None:
    """Import MLflow and what it writes a model with, which takes seconds, now and not later."""
    import mlflow.pyfunc  # noqa: F401


def client() -> "MlflowClient":
    """An MLflow client for `tracking_uri`."""
    from mlflow.tracking import MlflowClient

    _be_quiet_and_quick()
    return MlflowClient(tracking_uri())


@contextlib.contextmanager
def talking_to_server() -> Iterator[None]:
    """Turn what MLflow raises when its store cannot be used into a TrackingError.

    A signal that asks to stop waits for the end of the block.
    """
    import mlflow.exceptions
    import sqlalchemy.exc

    try:
        with interrupts.deferred():
            yield
    except (mlflow.exceptions.MlflowException, sqlalchemy.exc.SQLAlchemyError) as error:
        # A server that is gone is told of in fewer words than by the client's last retry.
        reason = why_silent(tracking_uri()) or str(error).strip().splitlines()[0]
        raise _unusable(tracking_uri(), reason) from error


def check_reachable() -> None:
    """Raise TrackingError, within seconds, when the tracking store does not answer.

    For the start of whatever will need it: nothing slow is loaded before.
    """
    uri = tracking_uri()
    reason = why_silent(uri)
    if reason is not None:
        raise _unusable(uri, reason)


class GivenUp(Exception):
    """A training is not worth going on with: its others were better after as many epochs."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"given up after epoch {epoch}: others were better by then")
        self.epoch = epoch


@dataclass(frozen=True)
class Run:
    """An open MLflow run."""

    run_id: str
    experiment: str

    def log_params(self, config: dict[str, Any]) -> None:
        """The whole resolved configuration, one parameter a key: `optimizer.lr`."""
        import mlflow

        flat = {key: str(value)[:LONGEST_PARAM] for key, value in flatten(config).items()}
        with talking_to_server():
            # A resumed run has them already; MLflow accepts the same value again.
            mlflow.log_params(flat)

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        import mlflow

        with talking_to_server():
            mlflow.log_metrics(metrics, step=step, run_id=self.run_id)

    def logged_steps(self, metric: str) -> set[int]:
        """The steps at which the run has this metric: an interrupted run has some already."""
        with talking_to_server():
            return {point.step for point in client().get_metric_history(self.run_id, metric)}

    def describe(self, note: str) -> None:
        """What a person reads first on the run's page, Markdown."""
        import mlflow

        with talking_to_server():
            mlflow.set_tag(NOTE, note)

    def log_dataset(
        self, *, name: str, digest: str, images: NDArray[np.uint8], source: str, context: str
    ) -> None:
        """The images a run learned from, known by our own digest of all of them."""
        import mlflow
        import mlflow.data

        with talking_to_server(), warnings.catch_warnings():
            # A path is a local artifact in two of MLflow's registries; both mean the same.
            warnings.simplefilter("ignore")
            dataset = mlflow.data.from_numpy(
                images, source=source, name=name, digest=digest.removeprefix("sha256:")[:36]
            )
            mlflow.log_input(dataset, context=context)

    def log_files(self, path: Path, folder: str | None = None) -> None:
        """A file or a whole folder as artifacts."""
        import mlflow

        with talking_to_server():
            log = mlflow.log_artifacts if path.is_dir() else mlflow.log_artifact
            log(str(path), folder)

    def log_text(self, text: str, name: str) -> None:
        """A text as an artifact."""
        import mlflow

        with talking_to_server():
            mlflow.log_text(text, name)

    def log_figure(self, figure: "Figure", name: str) -> None:
        """A matplotlib figure as a picture."""
        import mlflow

        with talking_to_server():
            mlflow.log_figure(figure, name, save_kwargs={"dpi": 110})

    def log_image(self, picture_HW: NDArray[np.uint8], name: str) -> None:
        """Grey pixels as a picture."""
        import mlflow

        with talking_to_server():
            mlflow.log_image(picture_HW, name)

    def log_model(
        self, bundle: Path, example_BHW: NDArray[np.uint8], requirements: list[str]
    ) -> None:
        """The bundle's ONNX as a Logged Model with a signature: no pickle, any batch size."""
        import mlflow
        import mlflow.onnx
        import onnx
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        _, height, width = example_BHW.shape
        model = onnx.load(bundle / "model.onnx")
        # The classes, and one more where the network knows what is none of them.
        num_outputs = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
        signature = ModelSignature(
            Schema([TensorSpec(np.dtype(np.uint8), (-1, height, width), "frames")]),
            Schema([TensorSpec(np.dtype(np.float32), (-1, num_outputs), "logits")]),
        )
        with talking_to_server():
            mlflow.onnx.log_model(
                model,
                name="model",
                signature=signature,
                pip_requirements=requirements,
                save_as_external_data=False,
                # Left out, MLflow names CUDA first and then warns wherever there is none.
                onnx_execution_providers=["CPUExecutionProvider"],
            )


@contextlib.contextmanager
def run(*, name: str, tags: dict[str, str], resume: str | None = None) -> Iterator[Run]:
    """Open a run, a new one or the interrupted one named by `resume`; close it in a true state.

    FINISHED when the block ends, KILLED when it is interrupted or given up, FAILED when it raises.
    Raises TrackingError when the store cannot be reached.
    """
    _be_quiet_and_quick()
    import mlflow

    mlflow.set_tracking_uri(tracking_uri())
    status = "KILLED"  # by a signal or an exit, unless one of these is reached
    try:
        with talking_to_server():
            chosen = experiment_id()
            mlflow.set_experiment(experiment_id=chosen)
            # MLflow refuses to go on with a run of another experiment than the one that is set.
            known = resume if resume and exists(resume, experiment_id=chosen) else None
            run_name = None if known else name
            active = mlflow.start_run(known, run_name=run_name, tags=tags, log_system_metrics=True)
        yield Run(run_id=active.info.run_id, experiment=experiment_name())
        status = "FINISHED"
    except GivenUp as given_up:  # KILLED too, and told from the others by this tag
        with talking_to_server():
            mlflow.set_tag(GIVEN_UP, str(given_up.epoch))
        raise
    except Exception:
        status = "FAILED"
        raise
    finally:
        # A second Ctrl-C, or a server gone, must not hide why the block ended.
        hidden = () if status == "FINISHED" else (Exception,)
        with contextlib.suppress(*hidden), interrupts.ignored(), talking_to_server():
            mlflow.end_run(status)


def add_to_run(run_id: str, *, metrics: dict[str, float], files: list[Path], note: str) -> bool:
    """Log to a run that has ended, without touching its state; False when it is not known here.

    `note` takes the place of the run's description.
    """
    from mlflow.entities import Metric

    with talking_to_server():
        if not exists(run_id):
            return False
        store = client()
        now_ms = int(time.time() * 1000)
        store.log_batch(
            run_id,
            metrics=[Metric(name, float(value), now_ms, 0) for name, value in metrics.items()],
        )
        for path in files:
            store.log_artifact(run_id, str(path))
        store.set_tag(run_id, NOTE, note)
    return True


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


def experiment_name() -> str:
    """`MLFLOW_EXPERIMENT_NAME`, or `digits`."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT


def _create_experiment(name: str) -> str:
    # Beside the database, so that both are found from any folder; a server has a place of its own.
    here = Path("mlartifacts").resolve().as_uri() if tracking_uri().startswith("sqlite") else None
    tags = {
        NOTE: "Each run is one training of one model; its test scores are added by `evaluate`.",
        # MLflow's pages open on trainings then, not on traces of language models.
        "mlflow.experimentKind": "custom_model_development",
    }
    return str(client().create_experiment(name, here, tags))


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _be_quiet_and_quick() -> None:
    """Settings MLflow reads from the environment; what the user set there wins."""
    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # What these would say of each retry, the TrackingError says once.
    for chatty in ("urllib3.connectionpool", "mlflow.system_metrics"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # An unreachable server is reported within seconds, not after seven retries of two minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "2")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def _unusable(uri: str, reason: str) -> TrackingError:
    return TrackingError(
        f"the MLflow store {without_password(uri)} cannot be used: {reason}; "
        "start it, or set MLFLOW_TRACKING_URI to another"
    )


def without_password(uri: str) -> str:
    """An address as it may be shown."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
