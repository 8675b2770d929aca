"""Two trainings side by side: what was asked of them, what they reached, where they disagree.

N test images.
"""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits import paired
from digits.arrays import read_arrays
from digits.files import md5, read_json
from digits.reading.predictor import Predictor
from digits.runs import finding, tracking
from digits.runs.listing import local_time
from digits.scores import wilson_interval
from digits.settings import load_params

# What is shown of the metrics: MLflow's name, ours, and how it is written.
RESULTS = {
    "bundle/val_accuracy": ("validation accuracy", "{:.2%}"),
    "test/accuracy": ("test accuracy", "{:.2%}"),
    "test/mean_corrupted_accuracy": ("accuracy over corruptions", "{:.2%}"),
    "test/ece": ("calibration error", "{:.2%}"),
    "test/refused_share": ("test digits refused", "{:.2%}"),
    "test/nondigits_accepted_share": ("drawn non-digits accepted", "{:.2%}"),
    "test/latency_ms": ("one image", "{:.3f} ms"),
    "bundle/num_parameters": ("parameters", "{:,.0f}"),
}
# Of how many images a share is, as a metric or a parameter: what its interval follows from. Each
# test image is corrupted in fifteen ways, and counts once: that interval is rather too wide.
COUNTS = {
    "bundle/val_accuracy": "data.num_val",
    "test/accuracy": "test/num_images",
    "test/mean_corrupted_accuracy": "test/num_images",
    "test/refused_share": "test/num_images",
    "test/nondigits_accepted_share": "test/num_nondigits",
}
PARTS = 16  # of the test images, for as many threads as there are cores
MOST_EPOCHS = 8  # of the curves, as figures
NOT_ASKED = ("data.num_train", "data.num_val", "prepared", "trainer.")  # follow from the rest


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two trainings."""

    run_id: str
    name: str
    started: str
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]
    curve: list[tuple[int, float]]  # epoch, validation accuracy

    def interval(self, key: str) -> tuple[float, float] | None:
        """What covers the true share, 95 %; None of what is no share, or of an unknown number."""
        where = COUNTS.get(key, "")
        num = int(self.metrics.get(where) or self.params.get(where) or 0)
        return wilson_interval(self.metrics[key], num) if num and key in self.metrics else None


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A test image that just one of the two reads right, or both wrong in their own way."""

    index: int
    label: Any
    first: Any
    second: Any
    frame: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that is known of two trainings; `paired` and what goes with it only of the same data."""

    first: Side
    second: Side
    paired: paired.Paired | None
    verdict: str  # what the paired test says, in words; or why there is none
    disagreements: list[Disagreement]

    @property
    def differing(self) -> list[tuple[str, str, str]]:
        """The parameters that differ: key, first, second; empty for what one does not have."""
        keys = sorted({*self.first.params, *self.second.params})
        rows = [
            (key, self.first.params.get(key, ""), self.second.params.get(key, "")) for key in keys
        ]
        return [row for row in rows if row[1] != row[2] and not row[0].startswith(NOT_ASKED)]

    @property
    def results(self) -> list[tuple[str, str, str]]:
        """What both reached, as written: name, first, second."""
        return [
            (name, _written(self.first, key, style), _written(self.second, key, style))
            for key, (name, style) in RESULTS.items()
            if key in self.first.metrics or key in self.second.metrics
        ]

    @property
    def num_epochs(self) -> int:
        """Of the longer of the two curves; `curves` may have fewer of them."""
        return len({epoch for side in (self.first, self.second) for epoch, _ in side.curve})

    @property
    def curves(self) -> list[tuple[str, str, str]]:
        """Validation accuracy by epoch, as written: epoch, first, second; the first, the last of
        each, and what lies evenly between."""
        sides = [dict(side.curve) for side in (self.first, self.second)]
        epochs = sorted({*sides[0], *sides[1]})
        evenly = np.linspace(0, len(epochs) - 1, min(MOST_EPOCHS, len(epochs))).round().astype(int)
        picked = {epochs[at] for at in evenly} | {max(side) for side in sides if side}
        texts = [{epoch: f"{share:.2%}" for epoch, share in side.items()} for side in sides]
        return [
            (str(epoch), texts[0].get(epoch, ""), texts[1].get(epoch, ""))
            for epoch in sorted(picked)
        ]


def compare(first: str, second: str, *, root: Path = Path()) -> Comparison:
    """Compare two trainings, named as `finding.find` takes them.

    They are compared image by image, on the prepared test images below `root`: by what their
    evaluation noted of these, else the bundles answer them again. ValueError for a run that is not
    there, TrackingError for a store that cannot be used.
    """
    sides = [_side(finding.find(word)) for word in (first, second)]
    found, why_not, disagreements = _same_images(*sides, root=root)
    verdict = f"no paired test: {why_not}"
    if found:  # as the gate sees it: both say the same of a pair
        asked = load_params(root / "params.yaml").gate.significance
        verdict = paired.in_words(found, significance=asked)
    return Comparison(
        first=sides[0],
        second=sides[1],
        paired=found,
        verdict=verdict,
        disagreements=disagreements,
    )


def _side(run: Any) -> Side:
    with tracking.talking_to_server():
        points = tracking.client().get_metric_history(run.info.run_id, "val_accuracy")
    return Side(
        run_id=run.info.run_id,
        name=run.info.run_name,
        started=local_time(run.info.start_time),
        metrics=dict(run.data.metrics),
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        curve=sorted({point.step: point.value for point in points}.items()),
    )


def _same_images(
    first: Side, second: Side, *, root: Path
) -> tuple[paired.Paired | None, str, list[Disagreement]]:
    names = {side.tags.get("dataset", "") for side in (first, second)}
    if len(names) > 1:
        return None, f"they learnt from different data sets, {' and '.join(sorted(names))}", []
    (name,) = names
    prepared = root / second.params.get("prepared", f"data/{name}/prepared")
    try:
        about = read_json(prepared / "data.json", stage="prepare")
        if about["name"] != name:
            return None, f"{prepared} has {about['name']} now, they learnt from {name}", []
        test = prepared / "test.npz"
        images_NHW, labels_N = read_arrays(test, ("images", "labels"), stage="prepare")
        test_md5 = md5(test)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            # Both are asked before the first has answered all.
            asked = [
                _answers(side, images_NHW, test_md5=test_md5, threads=threads)
                for side in (first, second)
            ]
            first_N, second_N = (np.concatenate([*parts]) for parts, _ in asked)
        classes = asked[1][1]
    except (OSError, ValueError, KeyError) as error:
        return None, str(error), []
    found = paired.compare(first_N == labels_N, second_N == labels_N)
    disagreements = [
        Disagreement(
            index=int(index),
            label=classes[labels_N[index]],
            first=classes[first_N[index]],
            second=classes[second_N[index]],
            frame=images_NHW[index],
        )
        for index in np.flatnonzero(first_N != second_N)
    ]
    return found, "", disagreements


def _answers(
    side: Side, images_NHW: NDArray[np.uint8], *, test_md5: str, threads: ThreadPoolExecutor
) -> tuple[Iterator[NDArray[np.intp]], Sequence[int | str]]:
    """What a training makes of the images, whose file has that MD5: indices (N), into its classes.

    The indices come in parts, which the threads are at work on. ValueError where it has no bundle.
    """
    noted = finding.artifact(side.run_id, "answers.json")
    if noted.get("test_md5") == test_md5:
        return iter([np.array(noted["answers"])]), noted["classes"]
    bundle = finding.bundle(side.run_id)
    if bundle is None:
        raise ValueError(f"run {side.run_id[:8]} ({side.name}) has no bundle")
    predictor = Predictor.open(bundle)

    def read(part_NHW: NDArray[np.uint8]) -> NDArray[np.intp]:
        answers_N: NDArray[np.intp] = predictor.logits(part_NHW).argmax(axis=1)
        return answers_N

    return threads.map(read, np.array_split(images_NHW, PARTS)), predictor.classes


def _written(side: Side, key: str, style: str) -> str:
    if key not in side.metrics:
        return ""
    bounds = side.interval(key)
    within = f" ({' to '.join(map(style.format, bounds))})" if bounds else ""
    return f"{style.format(side.metrics[key])}{within}"


def as_json(found: Comparison) -> str:
    """All of it but pictures and curves, as one line of JSON."""
    content = {
        "first": {"run_id": found.first.run_id, "name": found.first.name},
        "second": {"run_id": found.second.run_id, "name": found.second.name},
        "parameters": {key: [first, second] for key, first, second in found.differing},
        "metrics": {
            key: [found.first.metrics.get(key), found.second.metrics.get(key)] for key in RESULTS
        },
        "intervals": {
            key: [found.first.interval(key), found.second.interval(key)] for key in COUNTS
        },
        "paired": None if found.paired is None else vars(found.paired),
        "verdict": found.verdict,
        "disagreements": [
            {"index": one.index, "label": one.label, "first": one.first, "second": one.second}
            for one in found.disagreements
        ],
    }
    return json.dumps(content)
