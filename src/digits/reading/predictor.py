"""Open a bundle and run it with ONNX Runtime: what is scored is what is served.

A bundle is a folder: `model.onnx` (uint8 frames in, logits out), `model.json` (what the model
reads and answers, how it is built, and where it comes from) and `weights.safetensors`.

Shapes: B batch, H/W pixels, K classes.
"""

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime

from .normalize import NDArrayU8
from .rejection import Reason, familiarity, reason

FORMAT = 2
# Frames run through the network at once: more are no faster, and their layers fill the memory
# (1,024 at once take 540 MB, as 32 by 32 they take 100).
MOST_AT_ONCE = 32
# Of a model's lineage, what every answer carries.
IDENTITY = ("name", "version", "run_id", "git_commit", "data_digest")


class Predictor:
    """A bundle opened for reading frames."""

    def __init__(self, *, meta: dict[str, Any], session: onnxruntime.InferenceSession) -> None:
        self.meta = meta
        self.classes: tuple[int | str, ...] = tuple(meta["classes"])
        self.image_size: int = meta["input"]["size"]
        self._temperature: float = meta["calibration"]["temperature"]
        self._threshold: float = meta["rejection"]["threshold"]
        self._session = session

    @classmethod
    def open(cls, bundle: Path, *, num_threads: int = 1) -> Self:
        """Open the bundle in a folder.

        Raises FileNotFoundError when a file is missing and ValueError when one is damaged or of a
        format this version does not read.
        """
        try:
            meta = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
            onnx = (bundle / "model.onnx").read_bytes()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error.filename} is missing: {bundle} is no bundle; run `dvc repro`"
            ) from None
        except json.JSONDecodeError as error:
            raise ValueError(f"{bundle / 'model.json'} is damaged: {error}") from None
        if meta.get("format") != FORMAT:
            raise ValueError(
                f"{bundle / 'model.json'} has format {meta.get('format')!r}, "
                f"this version reads {FORMAT}; train again with `dvc repro -sf train@NAME`"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(onnx, options, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no exception class of its own to name
            raise ValueError(f"{bundle / 'model.onnx'} is damaged: {error}") from None
        return cls(meta=meta, session=session)

    def outputs(self, frames_BHW: NDArrayU8) -> np.ndarray[Any, np.dtype[np.float32]]:
        """All that the network answers: (B, H, W) uint8 frames → (B, K or K + 1) float32.

        Uncalibrated logits of the classes, and one for none of them where that was learnt.
        """
        size = self.image_size
        if frames_BHW.dtype != np.uint8 or frames_BHW.shape[1:] != (size, size):
            raise ValueError(
                f"frames must be uint8 of shape (B, {size}, {size}), "
                f"got {frames_BHW.dtype} of shape {frames_BHW.shape}"
            )
        parts = [
            self._session.run(None, {"frames": frames_BHW[start : start + MOST_AT_ONCE]})[0]
            for start in range(0, max(1, len(frames_BHW)), MOST_AT_ONCE)
        ]
        return np.asarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)

    def logits(self, frames_BHW: NDArrayU8) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Uncalibrated logits of the classes: (B, H, W) uint8 frames → (B, K) float32."""
        return self.outputs(frames_BHW)[:, : len(self.classes)]

    def probabilities(self, frames_BHW: NDArrayU8) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Calibrated probabilities: (B, H, W) uint8 frames → (B, K) float64, rows sum to 1."""
        return softmax(self.logits(frames_BHW), temperature=self._temperature)

    def answers(self, frames_BHW: NDArrayU8) -> list[dict[str, Any]]:
        """One answer a frame, ready for JSON.

        digit, confidence, probabilities in class order; accepted, and the reason when it is not:
        `blank` for a frame without ink, `unsure` for what may as well be another class,
        `unlike_a_digit` for what looks like none of them. The digit is the best guess also then.
        """
        probabilities_BK, reasons = self._judged(frames_BHW)
        return [
            {
                "digit": self.classes[int(row_K.argmax())],
                "confidence": float(row_K.max()),
                "probabilities": row_K.tolist(),
                "accepted": why is None,
                "reason": why,
            }
            for row_K, why in zip(probabilities_BK, reasons, strict=True)
        ]

    def accepts(self, frames_BHW: NDArrayU8) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether the answer to each frame should be believed: (B,)."""
        _, reasons = self._judged(frames_BHW)
        return np.array([why is None for why in reasons], np.bool_)

    def _judged(
        self, frames_BHW: NDArrayU8
    ) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[Reason | None]]:
        """Calibrated probabilities (B, K), and why not to believe each."""
        outputs_BK = self.outputs(frames_BHW)
        num_classes = len(self.classes)
        probabilities_BK = softmax(outputs_BK[:, :num_classes], temperature=self._temperature)
        familiar_B = familiarity(outputs_BK, num_classes=num_classes)
        each = zip(frames_BHW, familiar_B, probabilities_BK, strict=True)
        reasons = [
            reason(
                inked=bool(frame_HW.any()),
                familiarity=float(familiar),
                threshold=self._threshold,
                probabilities_K=row_K,
            )
            for frame_HW, familiar, row_K in each
        ]
        return probabilities_BK, reasons


def softmax(
    logits_BK: np.ndarray[Any, np.dtype[np.float32]], *, temperature: float = 1.0
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Probabilities of logits divided by a temperature (Guo et al. 2017, arXiv 1706.04599)."""
    scaled = logits_BK.astype(np.float64) / temperature
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    result: np.ndarray[Any, np.dtype[np.float64]] = odds / odds.sum(axis=1, keepdims=True)
    return result
