"""How accurate each model is on the test images: mean and spread over seeds.

    python bench/accuracy.py [--models mlp "cnn augment=affine"] [--seeds 1 2 3 4 5]
    python bench/accuracy.py --ablations [--seeds 1 2 3]

Trains each model of conf/model/ (`student` when asked, after its teacher) with each seed as `python
-m digits.train` does, on the prepared training split, and keeps the weights of the last epoch or of
the best on validation, as the model's file says. A model may be followed by overrides: so an
ingredient of `cnn` is taken away, and `--ablations` takes each away in turn. The test images are
read once, when a training is done, and choose nothing. The same command goes on where it stopped: a
training whose configuration, code and data are unchanged is not run again. Writes
bench/accuracy.json and docs/accuracy.md.
"""

import argparse
import os
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import trainings
from digits import configuration, settings
from digits.files import replacing

OUT = Path("bench/accuracy.json")
TABLE = Path("docs/accuracy.md")
# 64-32-10 is made for 8x8 pixels.
DATA = {"simple_mlp": "optdigits"}
# Reported for the same architecture elsewhere, by others and by other means.
REPORTED = {
    "linear": "92 %",
    "simple_mlp": "96 %",
    "mlp": "97 %",
    "wide_mlp": "98.13 %",
    "lenet5": "99.20 %",
    "convnet": "99.17 %",
    "vgg_small": "99.13 %",
    "adam_cnn": "98.3 %",
}


PAGE = """\
# How accurate each model is

Written by `python bench/accuracy.py`; every training is in bench/accuracy.json, with its machine,
versions and commit. Mean ± sample standard deviation over n of the seeds {seeds}. Trained
on the training images but for those held out for validation (5,000 of MNIST's 60,000); the test
images (10,000) are read when a training is over and choose nothing. The halves of MNIST's test
images come from different writers. Corrupted is the mean over the fifteen corruptions of MNIST-C.
`simple_mlp` reads the 8x8 digits of scikit-learn (360 test images, the same hands in both parts).
What is reported elsewhere was mostly chosen on the test images. Training is the median of the
loops' seconds, on machines that were not always idle. A row is of the commit in its last column (*
with changes to it), and the model is what its file in conf/model/ was then.

{table}

## What each ingredient of cnn is worth

Written by `python bench/accuracy.py --ablations`: `cnn` without one of its ingredients, or with
another instead, as points more (+) or less (-) than `cnn` with the same seed; mean over n seeds, ±
sample standard deviation. Between two seeds of `cnn` itself 0.05 points of test accuracy are usual.

{ablations}
"""
# What each ingredient of cnn is worth: all of it, without one, and with another instead.
ABLATIONS = [
    "cnn",
    "cnn ~augment.moves",
    "cnn ~augment.shade",
    "cnn ~augment.patches",
    "cnn augment=none",
    "cnn synthetic.digits=0",
    "cnn synthetic.nondigits=0",
    "cnn synthetic=none",
    "cnn model.network.norm=batch",
    "cnn model.network.norm=none",
    "cnn training.label_smoothing=0",
    "cnn schedule=constant ~schedule.warmup optimizer.lr=0.002",
    "cnn optimizer=adam",
    "cnn training.batch_size=256",
    "cnn augment.patches.until=1",
    "cnn synthetic.nondigits_late=1",
]


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line a model, mean ± sample standard deviation over its seeds."""
    head = ["Model", "Parameters", "Test accuracy, %", "n", "First half", "Second half"]
    head += ["Validation", "Corrupted", "ECE", "Training, s", "Reported elsewhere", "Commit"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    by_model: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_model.setdefault(row["name"], []).append(row)
    means = {name: statistics.fmean(r["accuracy"] for r in some) for name, some in by_model.items()}
    for name, some in sorted(by_model.items(), key=lambda item: means[item[0]]):
        cells = [name, f"{some[0]['num_parameters']:,}", spread(some, "accuracy"), str(len(some))]
        cells += [spread(some, key) for key in ("first_half", "second_half", "val_accuracy")]
        cells += [spread(some, "mean_corrupted_accuracy", digits=1), spread(some, "ece")]
        cells.append(f"{statistics.median(row['train_s'] for row in some):.0f}")
        commits = ", ".join(dict.fromkeys(map(_commit, some)))
        lines.append(f"| {' | '.join([*cells, REPORTED.get(name, '-'), commits])} |")
    return "\n".join(lines)


def ablation_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line an ablation, as differences from the whole of the same seed."""
    whole = {row["seed"]: row for row in rows if row["name"] == ABLATIONS[0]}
    head = [f"{ABLATIONS[0]} with", "Test accuracy", "Validation", "Corrupted", "n"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for name in ABLATIONS[1:]:
        some = [row for row in rows if row["name"] == name and row["seed"] in whole]
        if not some:
            continue
        differences = [
            trainings.spread(
                [100 * (row[key] - whole[row["seed"]][key]) for row in some], digits=2, signed=True
            )
            for key in ("accuracy", "val_accuracy", "mean_corrupted_accuracy")
        ]
        overrides = name.partition(" ")[2]
        lines.append(f"| {' | '.join([f'`{overrides}`', *differences, str(len(some))])} |")
    return "\n".join(lines)


def spread(rows: list[dict[str, Any]], key: str, *, digits: int = 2) -> str:
    """Mean ± sample standard deviation, in percent."""
    return trainings.spread([100 * row[key] for row in rows], digits=digits)


def _commit(row: dict[str, Any]) -> str:
    """The start of it, and a star where files differed from it."""
    commit, dash, _ = (row["commit"] or "none").partition("-")
    return commit[:7] + "*" * len(dash)


def page(rows: list[dict[str, Any]]) -> str:
    """docs/accuracy.md, whole."""
    models = [row for row in rows if row["name"] not in ABLATIONS[1:]]
    seeds = ", ".join(map(str, sorted({row["seed"] for row in rows})))
    return PAGE.format(seeds=seeds, table=table(models), ablations=ablation_table(rows))


def write(rows: list[dict[str, Any]]) -> None:
    """Replace docs/accuracy.md."""
    with replacing(TABLE) as beside:
        beside.write_text(page(rows), encoding="utf-8")


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    every = sorted(path.stem for path in (settings.CONF / "model").glob("*.yaml"))
    every.remove("student")  # wants the bundle of a teacher first
    parser.add_argument("--models", nargs="+", default=every)
    parser.add_argument("--ablations", action="store_true", help="cnn without each ingredient")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    arguments = parser.parse_args(given)
    results = trainings.Results(OUT, "python bench/accuracy.py")
    for seed in arguments.seeds:
        for model in ABLATIONS if arguments.ablations else arguments.models:
            name, *overrides = model.split()
            overrides += [f"data={DATA[name]}"] if name in DATA else []
            config = configuration.compose([f"model={name}", f"seed={seed}", *overrides])
            measure = partial(
                trainings.train_and_score, config, label=f"{model} seed={seed}", corrupted=True
            )
            results.add(model, seed, trainings.fingerprint(config), measure)
            write(results.rows)
    print(table(results.rows))


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", "accuracy")
    main()
