"""Let the selected model take the champion's place, if it is better: `python -m digits.gate`.

Reads the selection, the model's bundle and scores, the test images, and the champion in champion/.
Both models answer the same test images; what must hold is in params.yaml under `gate`. The test
images, because the champion may have learnt from today's validation images, or been chosen on them;
no model is chosen here, only kept out. Writes champion/, with the verdict and its reasons, and says
both in MLflow: the aliases `champion` and `challenger`, and tags of the version. The stage succeeds
either way.
"""

import argparse
import contextlib
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits import champion, labelled, paired, scores, settings, stopping
from digits.alone import alone
from digits.arrays import read_arrays
from digits.files import md5, read_json
from digits.judging import Measured, Verdict, judge
from digits.reading.normalize import UnreadableImage, normalize_row, open_image
from digits.reading.predictor import Predictor
from digits.runs import history, registry, tracking

SAME = "the champion byte for byte, trained again"
OVERRULED = "a person put another in its place"
STAND_IN = "trained on a stand-in, and the champion was not"
NUM_TIMED = 200  # images, each answered by both in turn


def run(
    *, selected: Path, models: Path, reports: Path, test: Path, gate: settings.Gate
) -> dict[str, Any]:
    """Judge the selected model; return the verdict, as written.

    Raises FileNotFoundError or ValueError when what an earlier stage wrote is missing or damaged,
    TrackingError when MLflow cannot be reached.
    """
    if champion.PENDING.exists():
        raise ValueError(f"{champion.PENDING} is not carried out yet; `digits history` does it")
    selection = read_json(selected, stage="select")
    name = selection["model"]
    bundle = models / name / "bundle"
    lineage = read_json(bundle / "model.json", stage=f"train@{name}")["lineage"]
    ruling = champion.of_the_team()
    origin = {
        **{key: selection[key] for key in ("version", "run_id", "git_commit")},
        **{"name": name, "dataset": lineage["dataset"], "stand_in": lineage["fallback"]},
        "digest": champion.digest(bundle),
        "test_md5": md5(test),
        "taken_back": ruling["taken_back"] if ruling else [],
        "metrics": read_json(reports / name / "metrics.json", stage="evaluate"),
    }
    is_champion = ruling is not None and ruling["run_id"] == origin["run_id"]
    verdict = (
        Verdict(promoted=True, reason="it was chosen again, and stays")
        if is_champion
        else _judge(bundle, origin, ruling, test=test, gate=gate)
    )
    content = champion.described(verdict, selected=origin, champion=ruling)
    # How it became champion stays on record, unless another was kept out since.
    before = champion.read_verdict() if is_champion else {}
    kept = before if (before.get("selected") or {}).get("run_id") == origin["run_id"] else content
    if verdict.promoted:
        details, samples = (
            read_json(reports / name / f"{each}.json", stage="evaluate")
            for each in ("details", "samples")
        )
        champion.crown(bundle, origin=origin, details=details, samples=samples, verdict=kept)
    else:
        champion.record(content)
    version = selection["version"]
    if version is not None:
        reason = None if is_champion else verdict.reason
        registry.judged(version, promoted=verdict.promoted, reason=reason)
        if verdict.promoted:
            found = verdict.paired
            compared = paired.in_words(found, significance=gate.significance) if found else ""
            _remember(version, ruling, why=kept["reason"], compared=compared)
    return content


def _remember(version: int, ruling: dict[str, Any] | None, *, why: str, compared: str) -> None:
    """Note in the history who became champion, unless it says so already."""
    entries = history.read()
    if not entries or entries[-1].version != version:
        earlier = ruling["version"] if ruling and ruling["version"] != version else None
        instead_of = entries[-1].version if entries else earlier
        what = "again" if why == SAME else "gate"
        history.add(
            history.new(
                what=what, version=version, instead_of=instead_of, why=why, compared=compared
            )
        )


def _judge(
    bundle: Path,
    origin: dict[str, Any],
    ruling: dict[str, Any] | None,
    *,
    test: Path,
    gate: settings.Gate,
) -> Verdict:
    """What needs no comparison, and else the comparison."""
    if ruling is None:
        return Verdict(promoted=True, reason="there was no champion")
    if origin["digest"] in ruling["taken_back"]:
        return Verdict(promoted=False, reason=OVERRULED + _way_back(origin))
    if origin["stand_in"] and not ruling["stand_in"]:
        return Verdict(promoted=False, reason=STAND_IN + _way_back(origin))
    if ruling["digest"] == origin["digest"]:
        return Verdict(promoted=True, reason=SAME)
    before, after = Predictor.open(champion.BUNDLE), Predictor.open(bundle)
    if before.classes != after.classes:
        return Verdict(promoted=True, reason="the one before knows other classes")
    reads = [
        f"{about['dataset']} of {model.image_size}x{model.image_size} pixels"
        for about, model in ((ruling, before), (origin, after))
    ]
    if reads[0] != reads[1]:
        reason = f"the one before reads {reads[0]}, this one {reads[1]}"
        return Verdict(promoted=True, reason=reason)
    if ruling["test_md5"] not in (None, origin["test_md5"]):
        # It may have learnt from what is tested on now.
        return Verdict(promoted=True, reason="the one before is of other test images")
    images_NHW, labels_N = read_arrays(test, ("images", "labels"), stage="prepare")
    probabilities = [model.probabilities(images_NHW) for model in (before, after)]
    right = [probabilities_NK.argmax(axis=1) == labels_N for probabilities_NK in probabilities]
    latencies = _latencies_ms(before, after, images_NHW)
    wild = _wild_accuracies(before, after, gate.wild)

    def measured(which: int, folder: Path, metrics: dict[str, Any]) -> Measured:
        return Measured(
            worst_class=_worst_class(labels_N, probabilities[which]),
            ece=scores.expected_calibration_error(labels_N, probabilities[which]),
            mean_corrupted_accuracy=metrics.get("mean_corrupted_accuracy"),
            wild_accuracy=wild[which],
            latency_ms=latencies[which],
            size_bytes=(folder / "model.onnx").stat().st_size,
        )

    return judge(
        paired.compare(*right),
        champion=measured(0, champion.BUNDLE, ruling["metrics"]),
        selected=measured(1, bundle, origin["metrics"]),
        gate=gate,
    )


def _way_back(origin: dict[str, Any]) -> str:
    """How a person makes it champion all the same; nothing of one that no registry knows."""
    version = origin["version"]
    return f'; `digits promote v{version} --because "..."` makes it champion' if version else ""


def _worst_class(labels_N: NDArray[Any], probabilities_NK: NDArray[Any]) -> float:
    counts_KK = scores.confusion_matrix(
        labels_N, probabilities_NK.argmax(axis=1), probabilities_NK.shape[1]
    )
    return min(row["recall"] for row in scores.per_class(counts_KK) if row["num"])


def _latencies_ms(
    before: Predictor, after: Predictor, images_NHW: NDArray[np.uint8]
) -> tuple[float, float]:
    """Median milliseconds of one image; in turn, so that a busy moment is both's."""
    taken: tuple[list[float], list[float]] = ([], [])
    for image_HW in images_NHW[:NUM_TIMED]:
        for model, seconds in zip((before, after), taken, strict=True):
            started = time.perf_counter()
            model.probabilities(image_HW[None])
            seconds.append(time.perf_counter() - started)
    first, second = (round(statistics.median(seconds) * 1000, 4) for seconds in taken)
    return first, second


def _wild_accuracies(
    before: Predictor, after: Predictor, folder: str | None
) -> tuple[float | None, float | None]:
    """The accuracy of both on labelled images from outside; None where there are none."""
    frames, labels = [], []
    for path, label in _labelled(folder):
        if label in before.classes and path.is_file():
            with contextlib.suppress(UnreadableImage):
                found = normalize_row(open_image(path.read_bytes()), size=before.image_size)
                frames.append(found.frame)
                labels.append(before.classes.index(label))
    if not frames:
        return None, None
    frames_NHW, labels_N = np.stack(frames), np.array(labels)
    first, second = (
        float((model.logits(frames_NHW).argmax(axis=1) == labels_N).mean())
        for model in (before, after)
    )
    return first, second


def _labelled(folder: str | None) -> list[tuple[Path, int]]:
    if folder is None or not labelled.tables(Path(folder)):
        return []
    return [image for images in labelled.read_sets(Path(folder)).values() for image in images]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--selected", type=Path, default=Path("reports/selected.json"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    parser.add_argument("--test", type=Path, required=True)
    options = parser.parse_args()
    with stopping.explained("gate", tracking.TrackingError):
        tracking.check_reachable()
        with alone():
            content = run(
                selected=options.selected,
                models=options.models,
                reports=options.reports,
                test=options.test,
                gate=settings.load_params().gate,
            )
    became = "is the champion" if content["promoted"] else "stays a challenger"
    print(f"{content['selected']['name']} {became}: {content['reason']}")


if __name__ == "__main__":
    main()
