"""The paired test of two models."""

import numpy as np
import pytest

from digits import paired


def right(bits: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([bit == "1" for bit in bits])


def test_images_are_counted_by_who_reads_them() -> None:
    found = paired.compare(right("1100110"), right("1010011"))
    assert (found.num, found.both_right, found.both_wrong) == (7, 2, 1)
    assert (found.only_first, found.only_second) == (2, 2)
    assert found.difference == 0
    assert found.p_value == 1


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [(0, 0, 1), (0, 5, 2 / 32), (5, 0, 2 / 32), (1, 9, 0.021484375), (8, 8, 1)],
)
def test_mcnemar_is_the_exact_two_sided_test_of_a_fair_coin(
    only_first: int, only_second: int, p_value: float
) -> None:
    assert paired.mcnemar(only_first, only_second) == p_value


def test_mcnemar_is_scipys_binomial_test() -> None:
    from scipy.stats import binomtest

    for only_first, only_second in [(3, 11), (40, 31), (700, 640)]:
        expected = binomtest(only_first, only_first + only_second).pvalue
        assert paired.mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)


def test_the_interval_is_that_of_images_drawn_again_and_the_same_each_time() -> None:
    low, high = paired.bootstrap_interval(20, 50, 1000)
    assert (low, high) == paired.bootstrap_interval(20, 50, 1000)
    # The standard error of a mean of 0, 1 and -1.
    error = ((70 / 1000 - 0.03**2) / 1000) ** 0.5
    assert low == pytest.approx(0.03 - 1.96 * error, abs=0.001)
    assert high == pytest.approx(0.03 + 1.96 * error, abs=0.001)
    assert paired.bootstrap_interval(0, 0, 10) == (0, 0)


def test_other_images_are_not_compared() -> None:
    with pytest.raises(ValueError, match="the same images are needed"):
        paired.compare(right("10"), right("100"))
    with pytest.raises(ValueError, match="one or more; got 0 and 0"):
        paired.compare(right(""), right(""))


def test_who_is_better_is_a_matter_of_the_significance_asked_for() -> None:
    right_N = np.ones(1000, bool)
    worse_N = right_N.copy()
    worse_N[:6] = False  # p = 2 / 2**6 = 0.031
    found = paired.compare(worse_N, right_N)
    assert paired.in_words(found, significance=0.05).startswith("B is better by 0.60 points")
    assert paired.in_words(found, significance=0.01).startswith("neither is shown to be better")
    # Of who is better the interval is of its own margin, whichever side it is on.
    turned = paired.in_words(paired.compare(right_N, worse_N), significance=0.05)
    low, high = (100 * end for end in (found.low, found.high))
    assert turned.startswith(f"A is better by 0.60 points ({low:.2f} to {high:.2f}, 95 %; exact")
    # As the gate has it: the largest p-value that counts is the one asked for.
    assert paired.in_words(found, significance=2 / 2**6).startswith("B is better")
