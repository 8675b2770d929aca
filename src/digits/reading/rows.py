"""Tell digits written side by side from the strokes of one digit."""

from .components import Component, bounds

OVERLAP = 0.25  # of the narrower part's width: strokes above each other are of one digit
TALL = 0.5  # of the tallest: a lower group is a dash, a dot or a speck
MAX_DIGITS = 12  # more parts than this are texture, not a number


def side_by_side(components: list[Component]) -> list[list[Component]]:
    """The strokes of each digit of a row, from left to right; empty where there is no row.

    What touches the edge of the image is cut off and counts for nothing.
    """
    groups: list[list[Component]] = []
    for part in sorted((part for part in components if not part.touches), key=lambda p: p.left):
        if groups and _overlap(groups[-1], part):
            groups[-1].append(part)
        else:
            groups.append([part])
    if not groups:
        return []
    tallest = max(groups, key=_height)
    digits = [group for group in groups if _is_beside(group, tallest)]
    return digits if 2 <= len(digits) <= MAX_DIGITS else []


def _overlap(group: list[Component], part: Component) -> bool:
    left, _, right, _ = bounds(group)
    shared = min(right, part.right) - max(left, part.left)
    return shared >= OVERLAP * min(right - left, part.right - part.left)


def _height(group: list[Component]) -> int:
    _, top, _, bottom = bounds(group)
    return bottom - top


def _is_beside(group: list[Component], tallest: list[Component]) -> bool:
    """Whether a group is about as high as the tallest, and on its line."""
    (_, top, _, bottom), (_, highest, _, lowest) = bounds(group), bounds(tallest)
    return min(bottom, lowest) - max(top, highest) >= TALL * (lowest - highest)
