"""What is not believed: thresholds that keep their share, reasons that fit.

B batch, N images, K classes.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digits.reading.rejection import familiarity, fit_threshold, reason


def test_logits_that_excite_no_class_are_as_unfamiliar_as_can_be() -> None:
    familiar_B = familiarity(np.array([[3.0, 3.0, 3.0, 3.0], [9.0, 0.0, 0.0, 0.0]]), num_classes=4)
    assert familiar_B[0] == pytest.approx(math.log(4))
    assert familiar_B[1] == pytest.approx(9 - 9 / 4 + math.log(1 + 3 * math.exp(-9)))


@given(st.lists(st.floats(-1000, 1000), min_size=2, max_size=10), st.floats(-1000, 1000))
def test_familiarity_has_a_floor_and_knows_no_offset(logits: list[float], offset: float) -> None:
    logits_BK = np.array([logits])
    num = len(logits)
    (familiar,) = familiarity(logits_BK, num_classes=num)
    assert familiar >= math.log(num) - 1e-6
    assert familiarity(logits_BK + offset, num_classes=num)[0] == pytest.approx(familiar, abs=1e-6)


def test_what_is_none_of_the_classes_has_an_output_of_its_own() -> None:
    outputs_BK = np.array([[5.0, 1.0, 0.0], [5.0, 1.0, 5.0], [0.0, 0.0, 9.0]])
    familiar_B = familiarity(outputs_BK, num_classes=2)
    together = 5 + math.log1p(math.exp(-4))
    even = math.log(2)
    expected = [together - 3 + together, together - 3 + together - 5, even + even - 9]
    assert familiar_B == pytest.approx(expected)
    assert familiarity(outputs_BK + 7, num_classes=2) == pytest.approx(familiar_B)


@pytest.mark.parametrize("refuse", [0.0, 0.01, 0.25])
def test_a_threshold_refuses_its_share(refuse: float) -> None:
    familiarity_N = np.random.default_rng(0).normal(size=1000) * 5
    refused = (familiarity_N < fit_threshold(familiarity_N, refuse=refuse)).mean()
    assert refused == pytest.approx(refuse, abs=0.002)


@pytest.mark.parametrize("refuse", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_named(refuse: float) -> None:
    with pytest.raises(ValueError, match=f"refuse must be in .* got {refuse!r}"):
        fit_threshold(np.zeros(3), refuse=refuse)


@pytest.mark.parametrize(
    ("inked", "familiar", "probabilities", "expected"),
    [
        (True, 5.0, [0.5, 0.3, 0.2], None),
        (True, 5.0, [0.49, 0.31, 0.2], "unsure"),
        (True, 5.0, [0.49, 0.48, 0.03], "unsure"),
        (False, 5.0, [1.0, 0.0, 0.0], "blank"),
        (True, 4.0, [0.5, 0.45, 0.05], "unsure"),
        (True, 4.0, [0.99, 0.01, 0.0], "unsure"),
        (True, 4.0, [0.4, 0.3, 0.3], "unlike_a_digit"),
    ],
)
def test_the_reason_fits(
    inked: bool, familiar: float, probabilities: list[float], expected: str | None
) -> None:
    given_reason = reason(
        inked=inked, familiarity=familiar, threshold=5.0, probabilities_K=np.array(probabilities)
    )
    assert given_reason == expected
