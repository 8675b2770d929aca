"""A model card of one run: what it learnt from, how well it reads, by what slices, at what cost.

After M. Mitchell and others 2019 (arXiv 1810.03993). All numbers come from what the stages wrote;
every share is of so many images, with its 95 % interval. What was not measured is said to be so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from digits.reading.rejection import LEAST
from digits.scores import NUM_BINS, wilson_interval

# For an estimate, where nothing is metered: a machine that computes, without and with a GPU, each
# process on one of its own, and the world's electricity of 2023 (Ember, Global Electricity Review
# 2024).
WATTS = {"cpu": 100, "gpu": 400}
GRAMS_PER_KWH = 480
LIMITS = (
    "It is made for learning and for forking: nobody should let it decide on money, marks or "
    "medicine without a person who looks. Numerals of other scripts are no digits to it. Its "
    "confidence is calibrated on images like those it learnt from, and means less elsewhere. Who "
    "wrote an image is not known, and so nothing of differences between groups of people."
)
HEAD = ["Images", "Share", "95 % interval"]  # what `share` answers


def write(
    *,
    meta: Mapping[str, Any],
    trained: Mapping[str, Any],
    metrics: Mapping[str, Any],
    licence: str | None,
) -> str:
    """The whole card, Markdown.

    `meta` is a bundle's model.json, `trained` the training's run.json, `metrics` all that evaluate
    scored, by class and by corruption too; `licence` is that of the images.
    """
    parts = [
        f"# Model card of {meta['name']}",
        *sections(meta=meta, origin=trained, trained=trained, metrics=metrics, licence=licence),
        "## What to expect of it",
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def sections(
    *,
    meta: Mapping[str, Any],
    origin: Mapping[str, Any],
    trained: Mapping[str, Any] | None,
    metrics: Mapping[str, Any],
    licence: str | None,
    outside: Sequence[str] = (),
) -> list[str]:
    """What is measured of a model, as the paragraphs and tables of a card.

    As for `write`; `origin` says run, commit and version, `trained` is None where nothing is known
    of the training, and `outside` what was measured on images that are not of the data set.
    """
    about, validation = meta["lineage"], meta["validation"]
    version = f", version {origin['version']}" if origin.get("version") else ""
    stand_in = ", a stand-in for what could not be fetched" if about["fallback"] else ""
    return [
        f"Model `{meta['name']}`{version}: {metrics['num_parameters']:,} parameters, run "
        f"`{origin['run_id']}`, commit `{origin.get('git_commit')}`.",
        "## What it learnt from",
        f"{about['dataset']}{stand_in}, `{about['data_digest']}`; seed {about.get('seed')}. "
        f"Licence of the images: {licence or 'not known'}; of the code: MIT.",
        f"Validation: {validation['accuracy']:.2%} of {validation['num']:,} images that it did not "
        f"learn from ({_interval(validation['accuracy'], validation['num'])}), on which it was "
        "calibrated.",
        cost(trained) if trained else "How it was trained is in its run; it is not in `reports/`.",
        "## How well it reads",
        on_test(metrics),
        halves(metrics),
        by_class(metrics),
        by_corruption(metrics),
        "### Outside the data set",
        *(outside or ["Not measured for this card; `make wild` does, on any labelled folder."]),
        "### Drawn by a program",
        drawn(metrics),
        "### Calibration",
        calibration(meta, metrics),
        "### Refusals",
        refusals(meta, metrics),
    ]


def on_test(metrics: Mapping[str, Any]) -> str:
    """The scores on all test images, and on those same images corrupted."""
    num = metrics["num_images"]
    corrupted = metrics["mean_corrupted_accuracy"]
    return table(
        ["On the test images", *HEAD],
        [
            ["read right", *share(metrics["accuracy"], num)],
            ["read right, mean over the corruptions", f"{num:,} each", f"{corrupted:.2%}", ""],
        ],
    )


def halves(metrics: Mapping[str, Any]) -> str:
    """Of MNIST the halves come from different writers."""
    first = (metrics["num_images"] + 1) // 2
    sizes = (first, metrics["num_images"] - first)
    rows = [
        [name.replace("_", " "), *share(accuracy, num)]
        for (name, accuracy), num in zip(metrics["accuracy_by_half"].items(), sizes, strict=True)
    ]
    return table(["Half of the test images, read right", *HEAD], rows)


def by_class(metrics: Mapping[str, Any]) -> str:
    """What was read right of each class, and how often its name was the right answer."""
    if "per_class" not in metrics:
        return "By class: not measured; `make repro` does."
    rows = [
        [name, *share(row["recall"], row["num"]), f"{row['precision']:.2%}"]
        for name, row in metrics["per_class"].items()
    ]
    return table(["Class, read right (recall)", *HEAD, "Precision"], rows)


def by_corruption(metrics: Mapping[str, Any]) -> str:
    """What was read right of the test images after each corruption of MNIST-C."""
    if "corrupted_accuracy" not in metrics:
        return "By corruption: not measured; `make repro` does."
    rows = [
        [name.replace("_", " "), *share(accuracy, metrics["num_images"])]
        for name, accuracy in metrics["corrupted_accuracy"].items()
    ]
    return table(["Corruption, read right", *HEAD], rows)


def drawn(metrics: Mapping[str, Any]) -> str:
    """What became of images that a program drew, which are none of the test images."""
    titles = {
        "handwriting_accuracy": ("handwriting, read right", "num_handwriting"),
        "handwriting_refused_share": ("handwriting, refused", "num_handwriting"),
        "nondigits_accepted_share": ("non-digits, accepted", "num_nondigits"),
    }
    rows = [
        [title, *share(metrics[key], metrics.get(num))]
        for key, (title, num) in titles.items()
        if key in metrics
    ]
    if not rows:
        return "Drawn handwriting and non-digits were not measured."
    return table(["Drawn, and held out of training", *HEAD], rows)


def calibration(meta: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """How far what it says of its certainty is from how often it is right."""
    return (
        f"Expected calibration error: {metrics['ece']:.2%} over {metrics['num_images']:,} test "
        f"images, in {NUM_BINS} bins of equal width. Logits are divided by a temperature of "
        f"{meta['calibration']['temperature']:.4g}, fitted on {meta['validation']['num']:,} "
        "validation images."
    )


def refusals(meta: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """How much it does not answer for, and where the threshold comes from."""
    refused, num = metrics["refused_share"], metrics["num_images"]
    rejection = meta["rejection"]
    return (
        f"Refused: {refused:.2%} of {num:,} test images ({_interval(refused, num)}). What is less "
        f"familiar than {rejection['threshold']:.4g} is refused, as {rejection['refused']:.2%} of "
        f"the validation images were, and what has less than {LEAST:.0%} of the probability."
    )


def cost(trained: Mapping[str, Any]) -> str:
    """Epochs, time and carbon of the training, the latter estimated: nothing here is metered."""
    num, device = _devices(trained["trainer"])
    watts = num * WATTS["cpu" if device == "cpu" else "gpu"]
    kwh = trained["train_s"] * watts / 3_600_000
    epochs = f", {trained['epochs']} epochs," if trained.get("epochs") else ""
    machines = "the machine" if num == 1 else f"the {num} of them"
    grams = float(f"{kwh * GRAMS_PER_KWH:.2g}")
    images = f" on {trained['num_train']:,} images" if trained.get("num_train") else ""
    return (
        f"Trained{images}{epochs} in {trained['train_s']:,.0f} s on {trained['trainer']}: about "
        f"{grams:,g} g of CO₂, were {machines} to draw {watts:,} W of the world's average "
        f"electricity ({GRAMS_PER_KWH} g a kWh), which is assumed and not measured."
    )


def _devices(trainer: str) -> tuple[int, str]:
    """How many trained, and of what kind: of `cpu 32-true` or `4 x cuda bf16-mixed`."""
    many, times, one = trainer.partition(" x ")
    return (int(many), one.split()[0]) if times else (1, trainer.split()[0])


def share(value: float, num: int | None) -> list[str]:
    """A share of `num` images in three cells: number, share, and its 95 % interval.

    No interval where the number is not known, and no share of no image.
    """
    if not num:
        return ["", f"{value:.2%}", ""] if num is None else ["0", "", ""]
    return [f"{num:,}", f"{value:.2%}", _interval(value, num)]


def _interval(value: float, num: int) -> str:
    low, high = wilson_interval(value, num)
    return f"{low:.2%} to {high:.2%}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
