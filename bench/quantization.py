"""What a coarser export would save and cost: float32 as it is served, float16 weights, int8.

    python bench/quantization.py [--bundle models/cnn/bundle] [--prepared data/mnist/prepared]

Each is made of the same bundle with ONNX Runtime's own tools and read as it would be served: bytes,
images a second on one core, accuracy on the validation images and on the test images. One passes
that loses at most 0.02 points of the validation images and answers otherwise than float32 for at
most as many of the images that are known, those of training and validation; the test images judge
nothing. int8 is static quantisation, its ranges taken from 1,000 training images. Writes
bench/quantization.json.
"""

import argparse
import json
import logging
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from digits import evaluate, scores
from digits.files import write_json
from digits.reading.predictor import Predictor
from machine import describe

OUT = Path("bench/quantization.json")
NUM_CALIBRATION = 1000
LOST_ALLOWED = 0.0002  # share of the images
ROUNDS = 5


class TrainingImages(CalibrationDataReader):  # type: ignore[misc]
    """Batches of frames (100, H, W) for the quantiser."""

    def __init__(self, images_NHW: Any) -> None:
        self._batches: Iterator[Any] = iter(np.array_split(images_NHW, len(images_NHW) // 100 or 1))

    def get_next(self) -> dict[str, Any] | None:
        frames = next(self._batches, None)
        return None if frames is None else {"frames": frames}


def float16(source: Path, target: Path) -> None:
    onnx.save(convert_float_to_float16(onnx.load(source)), target)


def int8(
    images_NHW: Any, *, weights: QuantType, per_channel: bool, only: list[str] | None
) -> Callable[[Path, Path], None]:
    def make(source: Path, target: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            inferred = Path(folder) / "inferred.onnx"
            quant_pre_process(source, inferred, skip_symbolic_shape=True)
            quantize_static(
                inferred,
                target,
                TrainingImages(images_NHW),
                activation_type=QuantType.QUInt8,
                weight_type=weights,
                per_channel=per_channel,
                op_types_to_quantize=only,
            )

    return make


def passes(val_lost: float, known_differing: float) -> bool:
    """Whether an export may be served in float32's place: both are shares of images."""
    return val_lost <= LOST_ALLOWED and known_differing <= LOST_ALLOWED


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bundle", type=Path, default=Path("models/cnn/bundle"))
    parser.add_argument("--prepared", type=Path, default=Path("data/mnist/prepared"))
    arguments = parser.parse_args(given)
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser recommends what is done here
    with np.load(arguments.prepared / "train.npz") as arrays:
        calibration_NHW = arrays["train_images"][:NUM_CALIBRATION]
        val_labels_N = arrays["val_labels"]
        known_NHW = np.concatenate([arrays["val_images"], arrays["train_images"]])
    with np.load(arguments.prepared / "test.npz") as arrays:
        test_NHW, test_labels_N = arrays["images"], arrays["labels"]
    signed, unsigned = QuantType.QInt8, QuantType.QUInt8
    kinds: dict[str, Callable[[Path, Path], Any]] = {
        "float32": shutil.copyfile,
        "float16": float16,
        "int8, signed weights": int8(calibration_NHW, weights=signed, per_channel=True, only=None),
        "int8, unsigned weights": int8(
            calibration_NHW, weights=unsigned, per_channel=False, only=["Conv"]
        ),
    }
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        predictors, known_answers = {}, {}
        for name, make in kinds.items():
            bundle = Path(folder) / name
            shutil.copytree(arguments.bundle, bundle)
            make(arguments.bundle / "model.onnx", bundle / "model.onnx")
            predictors[name] = predictor = Predictor.open(bundle)
            known_answers[name] = answers_N = predictor.logits(known_NHW).argmax(axis=1)
            rows[name] = {
                "onnx_bytes": (bundle / "model.onnx").stat().st_size,
                "val_accuracy": scores.accuracy(val_labels_N, answers_N[: len(val_labels_N)]),
                "accuracy": scores.accuracy(test_labels_N, predictor.logits(test_NHW).argmax(1)),
            }
        # In turn, because a machine's speed changes from one second to the next.
        speeds: list[dict[str, dict[str, float]]] = [
            {
                name: evaluate.measure_speed(predictor, test_NHW)
                for name, predictor in predictors.items()
            }
            for _ in range(ROUNDS)
        ]
    for name, row in rows.items():
        for key in speeds[0][name]:
            row[key] = round(statistics.median(speed[name][key] for speed in speeds), 3)
        differing = float((known_answers[name] != known_answers["float32"]).mean())
        row["known_differing"] = round(differing, 6)
        row["passes"] = passes(rows["float32"]["val_accuracy"] - row["val_accuracy"], differing)
    meta = json.loads((arguments.bundle / "model.json").read_text())
    run = json.loads((arguments.bundle.parent / "run.json").read_text())
    write_json(
        OUT,
        {
            "command": "python bench/quantization.py",
            "machine": describe(),
            "model": {"name": meta["name"], "run_id": run["run_id"]},
            "num_known": len(known_NHW),
            "num_val": len(val_labels_N),
            "num_test": len(test_labels_N),
            "exports": rows,
        },
    )
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
