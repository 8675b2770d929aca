"""Figures for MLflow, DVC and the reports: arrays in, matplotlib figures out.

N images, K classes, H/W pixels.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

LONGEST_LABEL = 70  # characters; beside a longer one nothing is left of the picture
RIGHT, FRAME = "0.93", "0.8"  # greys: the diagonal of a confusion matrix, an image's edge


def learning_curves(history: Sequence[dict[str, float]]) -> Figure:
    """Loss and validation accuracy by epoch."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    left.plot(epochs, [row["train_loss"] for row in history], "o-", label="training (augmented)")
    left.plot(epochs, [row["val_loss"] for row in history], "o-", label="validation")
    left.set(title="Loss", xlabel="epoch", ylim=(0, None))
    left.legend(frameon=False)
    right.plot(epochs, [row["val_accuracy"] for row in history], "o-", color="C1")
    right.set(title="Validation accuracy", xlabel="epoch")
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def confusion(counts_KK: NDArray[np.int64], classes: Sequence[object], *, title: str) -> Figure:
    """Counts by label (row) and prediction (column); colour shows the mistakes only."""
    num_classes = len(classes)
    right_KK = np.eye(num_classes, dtype=bool)
    mistakes_KK = np.ma.masked_array(counts_KK, mask=right_KK)
    most = int(counts_KK[~right_KK].max(initial=0))
    side = max(6.0, 0.5 * num_classes + 1)  # inches
    figure = Figure(figsize=(side, side + 0.1), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor(RIGHT)
    # The strongest colour is left unused: black numbers are read on all others.
    axes.imshow(mistakes_KK, cmap="Oranges", vmin=0, vmax=1.7 * max(1, most))
    for (row, column), count in np.ndenumerate(counts_KK):
        if count:
            weight = "bold" if row == column else "normal"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=9, weight=weight)
    ticks = range(num_classes)
    axes.set_xticks(ticks, [str(name) for name in classes])
    axes.set_yticks(ticks, [str(name) for name in classes])
    edges = np.arange(num_classes - 1) + 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="read as", ylabel="label")
    axes.set_title(title, pad=12)
    return figure


def box_plot(accuracies: dict[str, Sequence[float]]) -> Figure:
    """Accuracies by group, each training a dot; the first group on top."""
    names = list(accuracies)[::-1]
    shown = [name if len(name) <= LONGEST_LABEL else f"{name[:LONGEST_LABEL]}…" for name in names]
    figure = Figure(figsize=(9, 1.4 + 0.42 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.boxplot([accuracies[name] for name in names], orientation="horizontal", tick_labels=shown)
    for row, name in enumerate(names, start=1):
        axes.plot(accuracies[name], [row] * len(accuracies[name]), "o", color="C0", alpha=0.6)
    axes.set(title="Validation accuracy")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=2))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def captioned_sheet(
    images_NHW: NDArray[np.uint8], captions: Sequence[str], *, title: str, columns: int = 8
) -> Figure:
    """Images with a caption of two lines each, ink dark on white; the title alone without any."""
    rows = -(-len(images_NHW) // columns)
    figure = Figure(figsize=(1.25 * columns, 1.62 * rows + 0.5), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(max(1, rows), columns, squeeze=False)
    for axes in grid.flat[len(images_NHW) :]:
        axes.axis("off")
    shown = grid.flat[: len(images_NHW)]
    for axes, image_HW, caption in zip(shown, images_NHW, captions, strict=True):
        axes.imshow(255 - image_HW, cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        # The frame tells each image from its neighbours' and holds the caption to it.
        axes.spines[:].set_color(FRAME)
        axes.set_title(caption, fontsize=9, pad=4)
    return figure


def data_report(
    sheet_HW: NDArray[np.uint8],
    counts: dict[str, list[int]],
    classes: Sequence[object],
    *,
    title: str,
) -> Figure:
    """Samples of every class, and how many images each split has of each class."""
    height, width_px = sheet_HW.shape
    left_side = 5.0  # inches
    tall = max(4.4, left_side * height / width_px)
    figure = Figure(figsize=(11, tall + 0.5), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, width_ratios=(left_side, 11 - left_side))
    left.imshow(sheet_HW, cmap="gray", vmin=0, vmax=255, aspect="equal")
    row = height / len(classes)
    left.set_yticks((np.arange(len(classes)) + 0.5) * row, [str(name) for name in classes])
    left.set_xticks([])
    left.tick_params(length=0)
    left.spines[:].set_visible(False)
    left.set_title("The first images of each class", fontsize=10)
    width = 0.8 / len(counts)
    positions = np.arange(len(classes))
    for index, (split, numbers) in enumerate(counts.items()):
        share = np.array(numbers) / max(1, sum(numbers))
        offset = (index - (len(counts) - 1) / 2) * width
        right.bar(positions + offset, share, width, label=f"{split} ({sum(numbers):,})")
    right.set_xticks(positions, [str(name) for name in classes])
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.set_title("Share of each class", fontsize=10)
    # Below the bars, where it covers none.
    right.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=len(counts))
    right.spines[["top", "right"]].set_visible(False)
    return figure
