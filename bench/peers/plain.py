"""BentoML as its tutorials have it: arrays as JSON, through `bentoml.api`."""

import os
from typing import Any

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=int(os.environ["WORKERS"]), logging={"access": {"enabled": False}})
class Plain:
    """Reads frames."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers)

    @bentoml.api
    def predict(self, frames: np.ndarray) -> list[Any]:  # type: ignore[type-arg]
        (logits_BK,) = self.session.run(None, {"frames": frames.astype(np.uint8)})
        answer: list[Any] = logits_BK.tolist()
        return answer
