"""Figures for MLflow, DVC and the reports: arrays in, matplotlib figures out.

N images, K classes, H/W pixels.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray


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
    mistakes_KK = counts_KK.astype(float)
    np.fill_diagonal(mistakes_KK, 0)
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(mistakes_KK, cmap="Oranges", vmin=0, vmax=max(1.0, mistakes_KK.max()))
    for (row, column), count in np.ndenumerate(counts_KK):
        if count:
            weight = "bold" if row == column else "normal"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8, weight=weight)
    ticks = range(len(classes))
    axes.set_xticks(ticks, [str(name) for name in classes])
    axes.set_yticks(ticks, [str(name) for name in classes])
    axes.set(xlabel="read as", ylabel="label", title=title)
    return figure


def captioned_sheet(
    images_NHW: NDArray[np.uint8], captions: Sequence[str], *, title: str, columns: int = 8
) -> Figure:
    """Images with a caption each, ink dark on white."""
    rows = max(1, -(-len(images_NHW) // columns))
    figure = Figure(figsize=(1.25 * columns, 1.5 * rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image_HW, caption in zip(grid.flat, images_NHW, captions, strict=False):
        axes.imshow(255 - image_HW, cmap="gray", vmin=0, vmax=255)
        axes.set_title(caption, fontsize=8)
    return figure


def data_report(
    sheet_HW: NDArray[np.uint8],
    counts: dict[str, list[int]],
    classes: Sequence[object],
    *,
    title: str,
) -> Figure:
    """Samples of every class, and how many images each split has of each class."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    left.imshow(sheet_HW, cmap="gray", vmin=0, vmax=255)
    left.axis("off")
    width = 0.8 / len(counts)
    positions = np.arange(len(classes))
    for index, (split, numbers) in enumerate(counts.items()):
        share = np.array(numbers) / max(1, sum(numbers))
        offset = (index - (len(counts) - 1) / 2) * width
        right.bar(positions + offset, share, width, label=f"{split} ({sum(numbers):,})")
    right.set_xticks(positions, [str(name) for name in classes])
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.set(title="Share of each class")
    right.legend(frameon=False, loc="lower right")
    right.spines[["top", "right"]].set_visible(False)
    return figure
