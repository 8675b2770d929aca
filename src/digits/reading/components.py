"""Find the connected parts of a small mask, by runs and union-find, without SciPy's import time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Component:
    """One connected part (8 neighbours): label in the label image, cells, box, middle of mass."""

    label: int
    area: int
    left: int
    top: int
    right: int  # exclusive
    bottom: int  # exclusive
    x: float
    y: float
    touches: bool  # the mask's edge


def bounds(parts: Sequence[Component]) -> tuple[int, int, int, int]:
    """The box around several parts: left, top, right, bottom in cells; the last two exclusive."""
    return (
        min(part.left for part in parts),
        min(part.top for part in parts),
        max(part.right for part in parts),
        max(part.bottom for part in parts),
    )


def find_components(mask_HW: NDArray[np.bool_]) -> tuple[list[Component], NDArray[np.int32]]:
    """Connected parts of a (H, W) mask and its (H, W) labels: 0 = none, 1.. as in the list."""
    height, width = mask_HW.shape
    wide = np.zeros((height, width + 2), np.int8)  # np.pad takes longer than all the rest
    wide[:, 1:-1] = mask_HW
    step_HW = wide[:, 1:] - wide[:, :-1]
    rows, starts = np.nonzero(step_HW == 1)
    stops = np.nonzero(step_HW == -1)[1]
    # Runs that touch, corners included: of the row above, those from `first` to before `past`.
    above = (rows - 1) * (width + 2)
    places = rows * (width + 2)
    first = np.searchsorted(places + stops, above + starts).tolist()
    past = np.searchsorted(places + starts, above + stops, side="right").tolist()
    parent = list(range(len(rows)))  # of each run; never a later one
    for run, (begin, end) in enumerate(zip(first, past, strict=True)):
        for other in range(begin, end):
            mine, its = parent[run], parent[other]
            while parent[mine] != mine:
                mine = parent[mine]
            while parent[its] != its:
                its = parent[its]
            if its < mine:
                parent[mine] = its
            else:
                parent[its] = mine
    for run in range(len(parent)):
        parent[run] = parent[parent[run]]
    labels_HW = np.zeros((height, width), np.int32)
    if not parent:
        return [], labels_HW
    # A part's root is its first run, so that labels come in the order of the parts.
    parent_N = np.array(parent)
    roots = np.flatnonzero(parent_N == np.arange(len(parent)))
    label_N = np.searchsorted(roots, parent_N)
    length_N = stops - starts
    labels_HW[mask_HW] = np.repeat(label_N + 1, length_N)
    by_label = np.argsort(label_N, kind="stable")
    begins = np.searchsorted(label_N[by_label], np.arange(len(roots)))

    def of_each(gather: np.ufunc, values_N: NDArray[Any]) -> list[Any]:
        return gather.reduceat(values_N[by_label], begins).tolist()  # type: ignore[no-any-return]

    each = zip(
        of_each(np.add, length_N),
        of_each(np.minimum, starts),
        of_each(np.minimum, rows),
        of_each(np.maximum, stops),
        of_each(np.maximum, rows + 1),
        of_each(np.add, length_N * (starts + stops) / 2),
        of_each(np.add, length_N * (rows + 0.5)),
        strict=True,
    )
    components = [
        Component(
            label=label,
            area=area,
            left=left,
            top=top,
            right=right,
            bottom=bottom,
            x=x / area,
            y=y / area,
            touches=left == 0 or top == 0 or right == width or bottom == height,
        )
        for label, (area, left, top, right, bottom, x, y) in enumerate(each, start=1)
    ]
    return components, labels_HW
