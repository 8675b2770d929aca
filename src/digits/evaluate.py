r"""Score a bundle on the test images: what is scored is what is served.

    python -m digits.evaluate --model models/cnn --test data/mnist/prepared/test.npz \
        --synthetic data/mnist/synthetic.npz --report reports/cnn

Reads the model's bundle/ and run.json, the 10,000 test images, which no stage but the gate opens
to score, and the drawn images that no training has seen. Writes metrics.json, details.json (by
class and by corruption), confusion.csv (for `dvc plots`), samples.json (for the page) and the
pictures confusion.png, mistakes.png and predictions.png, and logs what there is to see to the
model's run, with a model card.

N images, H/W pixels, K classes.
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits import scores, settings, stopping
from digits.arrays import read_arrays
from digits.corruptions import CORRUPTIONS, corrupt
from digits.files import md5, read_json, write_json
from digits.reading.predictor import Predictor
from digits.reporting import answers, card
from digits.runs import recording, tracking

# Two dozen numbers more than `dvc metrics diff` should show.
DETAILS = ("per_class", "corrupted_accuracy")
# MNIST's first and second 5,000 test images come from different writers.
NUM_HALVES = 2
# Every model is shown the same corrupted images, whatever the pipeline's seed is.
CORRUPTION_SEED = 0


def run(*, model: Path, test: Path, report: Path, synthetic: Path | None = None) -> dict[str, Any]:
    """Score, write and log; return the metrics.

    Raises FileNotFoundError when the bundle or the images are missing, ValueError when the bundle
    is damaged. What MLflow cannot be told is kept for later.
    """
    trained = _read_trained(model)
    predictor = Predictor.open(model / "bundle")
    images_NHW, labels_N = read_arrays(test, ("images", "labels"), stage="prepare")
    probabilities_NK = predictor.probabilities(images_NHW)
    metrics = {
        **score(labels_N, probabilities_NK, predictor.classes),
        **score_corrupted(predictor, images_NHW, labels_N),
        "refused_share": round(1 - float(predictor.accepts(images_NHW).mean()), 6),
        **(score_drawn(predictor, synthetic) if synthetic else {}),
        "num_parameters": predictor.meta["num_parameters"],
        "onnx_bytes": (model / "bundle" / "model.onnx").stat().st_size,
        **measure_speed(predictor, images_NHW),
    }
    details = {key: metrics[key] for key in DETAILS}
    write_json(report / "details.json", details)
    write_json(report / "metrics.json", {k: metrics[k] for k in metrics if k not in DETAILS})
    seen = answers.Answers(predictor.classes, images_NHW, labels_N, probabilities_NK)
    answers.write_confusion(report / "confusion.csv", seen)
    pictures = answers.draw(report, seen, name=predictor.meta["name"])
    write_json(report / "samples.json", {"samples": answers.pick_samples(seen)})

    logged = recording.add_to_run(
        trained["run_id"],
        metrics={_metric_name(name): value for name, value in tracking.flatten(metrics).items()},
        files=[*(report / f"{name}.json" for name in ("metrics", "details", "samples")), *pictures],
        texts={
            "model_card.md": card.write(
                meta=predictor.meta,
                trained=trained,
                metrics=metrics,
                licence=_licence(predictor.meta["lineage"]["dataset"]),
            ),
            # What `digits compare` need not ask the model again.
            "answers.json": json.dumps(
                {
                    "test_md5": md5(test),
                    "classes": predictor.classes,
                    "answers": probabilities_NK.argmax(axis=1).tolist(),
                }
            ),
        },
        note=_note(predictor.meta, metrics),
    )
    if not logged:
        run_id = trained["run_id"]
        print(f"evaluate: run {run_id} is not in this MLflow store (restored from DVC's cache?)")
    return metrics


def score(
    labels_N: NDArray[np.integer[Any]],
    probabilities_NK: NDArray[np.floating[Any]],
    classes: tuple[int | str, ...],
) -> dict[str, Any]:
    """Every score of these answers, as nested numbers for JSON."""
    predictions_N = probabilities_NK.argmax(axis=1)
    share = scores.accuracy(labels_N, predictions_N)
    low, high = scores.wilson_interval(share, len(labels_N))
    counts_KK = scores.confusion_matrix(labels_N, predictions_N, len(classes))
    halves = zip(
        ("first_half", "second_half"),
        np.array_split(labels_N, NUM_HALVES),
        np.array_split(predictions_N, NUM_HALVES),
        strict=True,
    )
    return {
        "accuracy": share,
        "accuracy_low": round(low, 6),
        "accuracy_high": round(high, 6),
        "num_images": len(labels_N),
        "num_errors": int((labels_N != predictions_N).sum()),
        "accuracy_by_half": {name: scores.accuracy(*pair) for name, *pair in halves},
        "nll": round(scores.negative_log_likelihood(labels_N, probabilities_NK), 6),
        "ece": round(scores.expected_calibration_error(labels_N, probabilities_NK), 6),
        "per_class": {
            str(name): {key: round(value, 5) for key, value in row.items()}
            for name, row in zip(classes, scores.per_class(counts_KK), strict=True)
        },
    }


def score_corrupted(
    predictor: Predictor, images_NHW: NDArray[np.uint8], labels_N: NDArray[np.uint8]
) -> dict[str, Any]:
    """The accuracy on each corruption of MNIST-C, and the mean of the fifteen.

    As many at a time as there are cores: a network this small gains little from two for itself.
    """

    def share(name: str) -> float:
        probabilities_NK = predictor.probabilities(corrupt(name, images_NHW, seed=CORRUPTION_SEED))
        return scores.accuracy(labels_N, probabilities_NK.argmax(axis=1))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        shares = dict(zip(CORRUPTIONS, pool.map(share, CORRUPTIONS), strict=True))
    mean = sum(shares.values()) / len(shares)
    return {"mean_corrupted_accuracy": round(mean, 6), "corrupted_accuracy": shares}


def score_drawn(predictor: Predictor, synthetic: Path) -> dict[str, float]:
    """What becomes of drawn handwriting and of drawn non-digits, those kept from training.

    Their numbers, and shares of them.
    """
    names = ("heldout_images", "heldout_labels", "heldout_nondigits")
    images_NHW, labels_N, others_NHW = read_arrays(synthetic, names, stage="synthesize")
    scored: dict[str, float] = {}
    if len(labels_N):
        predictions_N = predictor.probabilities(images_NHW).argmax(axis=1)
        scored["num_handwriting"] = len(labels_N)
        scored["handwriting_accuracy"] = scores.accuracy(labels_N, predictions_N)
        scored["handwriting_refused_share"] = 1 - float(predictor.accepts(images_NHW).mean())
    if len(others_NHW):
        scored["num_nondigits"] = len(others_NHW)
        scored["nondigits_accepted_share"] = float(predictor.accepts(others_NHW).mean())
    return {name: round(share, 6) for name, share in scored.items()}


def measure_speed(predictor: Predictor, images_NHW: NDArray[np.uint8]) -> dict[str, float]:
    """Milliseconds for one image and images a second in batches of 256, on the predictor's threads.

    The median of many, since other programs only ever add time.
    """

    def median_s(batch_BHW: NDArray[np.uint8], repeats: int) -> float:
        predictor.logits(batch_BHW)
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            predictor.logits(batch_BHW)
            times.append(time.perf_counter() - started)
        return float(np.median(times))

    batch_BHW = images_NHW[:256]
    return {
        "latency_ms": round(median_s(images_NHW[:1], 200) * 1000, 4),
        "images_per_s": round(len(batch_BHW) / median_s(batch_BHW, 20)),
    }


def _note(meta: dict[str, Any], metrics: dict[str, Any]) -> str:
    validation = meta["validation"]
    return (
        f"**{meta['name']}**, {meta['num_parameters']:,} parameters: {metrics['accuracy']:.2%} of "
        f"{metrics['num_images']:,} test images (95 % interval {metrics['accuracy_low']:.2%} to "
        f"{metrics['accuracy_high']:.2%}), {validation['accuracy']:.2%} of "
        f"{validation['num']:,} validation images."
    )


def _metric_name(name: str) -> str:
    """A name that MLflow's pages group by what stands before the slash."""
    for part in DETAILS:
        if name.startswith(f"{part}."):
            return f"test_{part}/{name.removeprefix(f'{part}.')}"
    return f"test/{name}"


def _licence(dataset: str) -> str | None:
    """Of the images; None of a data set that conf/ does not know any more."""
    try:
        return settings.load_dataset(dataset).licence
    except ValueError:
        return None


def _read_trained(model: Path) -> dict[str, Any]:
    path = model / "run.json"
    stage = f"train@{model.name}"
    content = read_json(path, stage=stage)
    if missing := {"run_id", "train_s", "trainer"} - content.keys():
        raise ValueError(
            f"{path} is damaged (no {', '.join(sorted(missing))}); run `dvc repro -sf {stage}`"
        )
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("model", "test", "report"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--synthetic", type=Path, help="drawn images to score as well")
    arguments = parser.parse_args()
    with stopping.explained("evaluate", tracking.TrackingError):
        metrics = run(**vars(arguments))
    print(
        f"{arguments.model.name}: {metrics['accuracy']:.2%} of {metrics['num_images']:,} test "
        f"images (95 % interval {metrics['accuracy_low']:.2%} to {metrics['accuracy_high']:.2%}), "
        f"{metrics['latency_ms']:.2f} ms an image"
    )


if __name__ == "__main__":
    main()
