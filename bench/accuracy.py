"""How accurate each model is on the test images: mean and spread over seeds.

    python bench/accuracy.py [--models mlp cnn "cnn augment=affine"] [--seeds 1 2 3 4 5]

Trains each model with each seed as `python -m digits.train` does, on the prepared training split,
and keeps the weights of the last epoch or of the best on validation, as the model's file says. A
model may be followed by overrides: so an ingredient is taken away. The test images are read once,
when a training is done, and choose nothing. The same command goes on where it stopped: a training
whose configuration, code and data are unchanged is not run again. Writes bench/accuracy.json and
docs/accuracy.md.
"""

import argparse
import os
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import trainings
from digits import configuration
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


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line a model, mean ± sample standard deviation over its seeds."""
    head = ["Model", "Parameters", "Test accuracy, %", "n", "First half", "Second half"]
    head += ["Validation", "Corrupted", "ECE", "Reported elsewhere"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    by_model: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_model.setdefault(row["name"], []).append(row)
    means = {name: statistics.fmean(r["accuracy"] for r in some) for name, some in by_model.items()}
    for name, some in sorted(by_model.items(), key=lambda item: means[item[0]]):
        cells = [name, f"{some[0]['num_parameters']:,}", spread(some, "accuracy"), str(len(some))]
        cells += [spread(some, key) for key in ("first_half", "second_half", "val_accuracy")]
        cells += [spread(some, "mean_corrupted_accuracy", digits=1), spread(some, "ece")]
        lines.append(f"| {' | '.join([*cells, REPORTED.get(name, '-')])} |")
    return "\n".join(lines)


def spread(rows: list[dict[str, Any]], key: str, *, digits: int = 2) -> str:
    """Mean ± sample standard deviation, in percent."""
    values = [100 * row[key] for row in rows]
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def write(rows: list[dict[str, Any]]) -> None:
    """docs/accuracy.md, whole."""
    seeds = sorted({row["seed"] for row in rows})
    text = (
        "# How accurate each model is\n\n"
        "Written by `python bench/accuracy.py`; every training is in bench/accuracy.json. Mean ±\n"
        f"sample standard deviation over the seeds ({', '.join(map(str, seeds))}); n is how many "
        "of them a model\nwas trained with. Trained on\n"
        "the training images but for those held out for validation (5,000 of MNIST's 60,000); the\n"
        "test images (10,000) are read when a training is over and choose nothing. The halves of\n"
        "MNIST's test images come from different writers. Corrupted is the mean over the fifteen\n"
        "corruptions of MNIST-C. `simple_mlp` reads the 8x8 digits of scikit-learn (360 test\n"
        "images, the same hands in both parts). What is reported elsewhere was mostly chosen on\n"
        f"the test images.\n\n{table(rows)}\n"
    )
    with replacing(TABLE) as beside:
        beside.write_text(text, encoding="utf-8")


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["linear", "mlp", "cnn"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    arguments = parser.parse_args(given)
    results = trainings.Results(OUT, "python bench/accuracy.py")
    for seed in arguments.seeds:
        for model in arguments.models:
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
