"""The least that serves a model: FastAPI and ONNX Runtime; frames in as bytes, JSON out."""

import os
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI, Request

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, ["CPUExecutionProvider"])
app = FastAPI()


@app.post("/classify")
async def classify(request: Request) -> dict[str, Any]:
    frames_BHW = np.frombuffer(await request.body(), np.uint8).reshape(-1, 28, 28)
    (logits_BK,) = session.run(None, {"frames": frames_BHW})
    odds_BK = np.exp(logits_BK - logits_BK.max(axis=1, keepdims=True))
    return {
        "digits": logits_BK.argmax(axis=1).tolist(),
        "probabilities": (odds_BK / odds_BK.sum(axis=1, keepdims=True)).tolist(),
    }


@app.get("/readyz")
async def ready() -> str:
    return "ok"
