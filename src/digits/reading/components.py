"""Find the connected parts of a small mask, by runs and union-find, without SciPy's import time."""

from collections.abc import Sequence
from dataclasses import dataclass

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
            mine, its = run, other
            while parent[mine] != mine:
                mine = parent[mine]
            while parent[its] != its:
                its = parent[its]
            parent[max(mine, its)] = min(mine, its)
    names: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    for run in range(len(parent)):
        parent[run] = parent[parent[run]]
        label = names.setdefault(parent[run], len(names) + 1)
        members.setdefault(label, []).append(run)
    labels_HW = np.zeros((height, width), np.int32)
    each = [names[root] for root in parent]
    labels_HW[mask_HW] = np.repeat(np.array(each, np.int32), stops - starts)
    components = []
    for label, indices in members.items():
        row_N, start_N, stop_N = rows[indices], starts[indices], stops[indices]
        length_N = stop_N - start_N
        area = int(length_N.sum())
        left, top = int(start_N.min()), int(row_N.min())
        right, bottom = int(stop_N.max()), int(row_N.max()) + 1
        components.append(
            Component(
                label=label,
                area=area,
                left=left,
                top=top,
                right=right,
                bottom=bottom,
                x=float((length_N * (start_N + stop_N) / 2).sum() / area),
                y=float((length_N * (row_N + 0.5)).sum() / area),
                touches=left == 0 or top == 0 or right == width or bottom == height,
            )
        )
    return components, labels_HW
