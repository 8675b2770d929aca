"""The benchmark of numbers: how rows are composed and counted."""

from typing import Any

import numpy as np
import pytest

import rows
from digits.reading.normalize import normalize_row


def answer(*digits: int, reason: str | None = "several") -> dict[str, Any]:
    return {"row": [{"digit": digit} for digit in digits], "reason": reason}


def test_a_row_that_is_not_split_into_its_digits_has_none_of_them_right() -> None:
    scores = rows.score(
        [
            ([4, 2], answer(4, 2)),
            ([4, 2, 1], answer(4, 2, 7)),
            ([1, 1], answer(reason=None)),
            ([3, 0, 5], answer(3, 5)),
        ]
    )
    assert scores["rows_right"] == 0.25
    assert scores["split"] == 0.5
    assert scores["digits_right"] == pytest.approx(4 / 10)
    assert scores["digits_right_where_split"] == pytest.approx(4 / 5)
    assert scores["not_split"] == {"read as one digit": 1, "several": 1}


def test_recorded_digits_stand_apart_on_the_paper() -> None:
    line = {"label": 1, "strokes": [[[140, 40], [150, 140], [140, 240]]]}
    paper = rows.compose([line] * 5, np.random.default_rng(0))
    assert paper.size == (280, 280)
    assert len(normalize_row(paper).row) == 5
