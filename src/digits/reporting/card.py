"""A model card of one run: what it learnt from, how well it reads, by what slices, at what cost.

After M. Mitchell and others 2019 (arXiv 1810.03993). All numbers come from what the stages wrote.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from digits.scores import wilson_interval

# For an estimate, where nothing is metered: a machine that computes, without and with a GPU, and
# the world's electricity of 2023 (Ember, Global Electricity Review 2024).
WATTS = {"cpu": 100, "gpu": 400}
GRAMS_PER_KWH = 480
LIMITS = (
    "It is made for learning and for forking: nobody should let it decide on money, marks or "
    "medicine without a person who looks. Numerals of other scripts are no digits to it. Its "
    "confidence is calibrated on images like those it learnt from, and means less elsewhere. Who "
    "wrote an image is not known, and so nothing of differences between groups of people."
)


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
    about, validation = meta["lineage"], meta["validation"]
    stand_in = ", a stand-in for what could not be fetched" if about["fallback"] else ""
    parts = [
        f"# Model card of {meta['name']}",
        f"{metrics['num_parameters']:,} parameters, run `{trained['run_id']}`, commit "
        f"`{trained.get('git_commit')}`.",
        "## What it learnt from",
        f"{about['dataset']}{stand_in}, `{about['data_digest']}`; seed {about.get('seed')}. "
        f"Licence of the images: {licence or 'not known'}; of the code: MIT.",
        f"Validation: {validation['accuracy']:.2%} of {validation['num']:,} images that it did not "
        "learn from, on which it was calibrated.",
        cost(trained),
        "## How well it reads",
        on_test(metrics),
        halves(metrics),
        by_class(metrics),
        by_corruption(metrics),
        "Images from outside the data set are measured with `make wild`.",
        "## What to expect of it",
        LIMITS,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def on_test(metrics: Mapping[str, Any]) -> str:
    """The scores on all test images."""
    rows = [
        ["Accuracy", f"{metrics['accuracy']:.2%}"],
        ["95 % interval", f"{metrics['accuracy_low']:.2%} to {metrics['accuracy_high']:.2%}"],
        ["Mean over the fifteen corruptions", f"{metrics['mean_corrupted_accuracy']:.1%}"],
        ["Expected calibration error", f"{metrics['ece']:.2%}"],
        ["Test images refused", f"{metrics['refused_share']:.2%}"],
    ]
    if "handwriting_accuracy" in metrics:
        rows.append(["Drawn handwriting read right", f"{metrics['handwriting_accuracy']:.1%}"])
    if "nondigits_accepted_share" in metrics:
        rows.append(["Drawn non-digits accepted", f"{metrics['nondigits_accepted_share']:.1%}"])
    return table([f"On {metrics['num_images']:,} test images", ""], rows)


def halves(metrics: Mapping[str, Any]) -> str:
    """Of MNIST the halves come from different writers."""
    first = (metrics["num_images"] + 1) // 2
    sizes = (first, metrics["num_images"] - first)
    rows = [
        [name.replace("_", " "), *share(accuracy, num)]
        for (name, accuracy), num in zip(metrics["accuracy_by_half"].items(), sizes, strict=True)
    ]
    return table(["Half of the test images", "Images", "Read right", "95 % interval"], rows)


def by_class(metrics: Mapping[str, Any]) -> str:
    """What was read right of each class, and how often its name was the right answer."""
    rows = [
        [name, *share(row["recall"], row["num"]), f"{row['precision']:.2%}"]
        for name, row in metrics["per_class"].items()
    ]
    return table(["Class", "Images", "Read right", "95 % interval", "Precision"], rows)


def by_corruption(metrics: Mapping[str, Any]) -> str:
    rows = [
        [name.replace("_", " "), *share(accuracy, metrics["num_images"])]
        for name, accuracy in metrics["corrupted_accuracy"].items()
    ]
    return table(["Corruption", "Images", "Read right", "95 % interval"], rows)


def cost(trained: Mapping[str, Any]) -> str:
    """Time and carbon of the training, the latter estimated: nothing here is metered."""
    watts = WATTS["cpu" if trained["trainer"].startswith("cpu") else "gpu"]
    kwh = trained["train_s"] * watts / 3_600_000
    return (
        f"Trained in {trained['train_s']:,.0f} s on {trained['trainer']}: about "
        f"{kwh * GRAMS_PER_KWH:,.2g} g of CO₂, were the machine to draw {watts} W of the world's "
        f"average electricity ({GRAMS_PER_KWH} g a kWh), which is assumed and not measured."
    )


def share(value: float, num: int) -> list[str]:
    """A share of `num` images in three cells: number, share, and its 95 % interval."""
    if not num:
        return ["0", "", ""]
    low, high = wilson_interval(value, num)
    return [f"{num:,}", f"{value:.2%}", f"{low:.2%} to {high:.2%}"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
