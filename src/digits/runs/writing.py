"""What is written to a run in MLflow; each call may be repeated, and then changes nothing.

So one that failed half way is simply made again, by `unsent` in another process and on another day.
`path` is a file or a folder on this machine, times are milliseconds since 1970, UTC.
"""

from pathlib import Path

import numpy as np

from digits.runs import tracking


def log_metrics(run_id: str, *, metrics: dict[str, float], step: int, at_ms: int) -> None:
    """Numbers of one step; MLflow knows the same number of the same moment again."""
    from mlflow.entities import Metric

    with tracking.talking_to_server():
        tracking.client().log_batch(
            run_id, metrics=[Metric(name, value, at_ms, step) for name, value in metrics.items()]
        )


def set_tag(run_id: str, *, key: str, value: str) -> None:
    with tracking.talking_to_server():
        tracking.client().set_tag(run_id, key, value)


def log_files(run_id: str, *, path: Path, folder: str | None) -> None:
    """A file, or all that a folder holds, as artifacts."""
    with tracking.talking_to_server():
        client = tracking.client()
        log = client.log_artifacts if path.is_dir() else client.log_artifact
        log(run_id, str(path), folder)


def log_model(run_id: str, *, path: Path, requirements: list[str]) -> None:
    """An ONNX file as the run's Logged Model with a signature: no pickle, any batch size.

    One that was interrupted before stays behind, and is not READY.
    """
    import mlflow
    import mlflow.onnx
    import onnx
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    model = onnx.load(path)
    frames, outputs = (
        [dim.dim_value for dim in each.type.tensor_type.shape.dim[1:]]
        for each in (model.graph.input[0], model.graph.output[0])
    )
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.uint8), (-1, *frames), "frames")]),
        # The classes, and one more where the network knows what is none of them.
        Schema([TensorSpec(np.dtype(np.float32), (-1, *outputs), "logits")]),
    )
    if ready_model(run_id) is not None:
        return
    with tracking.talking_to_server():
        mlflow.set_tracking_uri(tracking.tracking_uri())
        # What `mlflow.onnx.log_model` does, for any run instead of the active one.
        Model.log(
            artifact_path=None,
            name="model",
            run_id=run_id,
            flavor=mlflow.onnx,
            onnx_model=model,
            signature=signature,
            pip_requirements=requirements,
            save_as_external_data=False,
            # Left out, MLflow names CUDA first and then warns wherever there is none.
            onnx_execution_providers=["CPUExecutionProvider"],
        )


def ready_model(run_id: str) -> str | None:
    """The id of the run's Logged Model; None of a run without one that is whole."""
    from mlflow.entities import LoggedModelStatus

    with tracking.talking_to_server():
        client = tracking.client()
        outputs = client.get_run(run_id).outputs
        for output in outputs.model_outputs if outputs else ():
            if client.get_logged_model(output.model_id).status == LoggedModelStatus.READY:
                return str(output.model_id)
    return None


def end(run_id: str, *, status: str, at_ms: int) -> None:
    """Close the run as FINISHED, FAILED or KILLED."""
    with tracking.talking_to_server():
        tracking.client().set_terminated(run_id, status, end_time=at_ms)
