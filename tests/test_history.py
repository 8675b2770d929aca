"""The history of champions: which one was there before."""

import pytest

from digits.runs import history


def told(*changes: int | str) -> list[history.Entry]:
    """A history of promotions, 3, and of rollbacks, "2"."""
    return [
        history.new(
            what="rollback" if isinstance(change, str) else "promote",
            version=int(change),
            instead_of=None,
            why="x",
        )
        for change in changes
    ]


@pytest.mark.parametrize(
    ("changes", "before"),
    [
        ((), None),
        ((1,), None),
        ((1, 2), 1),
        ((1, 2, "1"), None),
        ((1, 2, 1, 3), 1),
        ((1, 2, 1, 3, "1"), 2),
        ((1, 2, 1, 3, "1", "2"), 1),
        ((1, 2, 1, 3, "1", "2", "1"), None),
        ((1, 2, 3, 2, 4, "2"), 3),
    ],
)
def test_rollbacks_walk_back_through_what_ruled(
    changes: tuple[int | str, ...], before: int | None
) -> None:
    assert history.before(told(*changes)) == before


@pytest.mark.parametrize(
    ("changes", "gone", "before"),
    [
        ((1, 2, 3), {2}, 1),
        ((1, 2, 3), {1, 2}, None),
        ((1, 2, 3, "1"), {2}, None),
        ((3, 1, 2, 1), {2}, 3),  # the champion itself is none to go back to
    ],
)
def test_what_is_gone_is_passed_over(
    changes: tuple[int | str, ...], gone: set[int], before: int | None
) -> None:
    assert history.before(told(*changes), gone=gone) == before
