"""Whether one model reads better than another, by what both answer on the same images.

N images.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 10_000
SEED = 0  # of the bootstrap: the same answers give the same interval


@dataclass(frozen=True, kw_only=True)
class Paired:
    """How two models did on the same images; `difference` is second - first, in [-1, 1]."""

    num: int
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    difference: float
    low: float  # of the interval that covers the true difference, 95 %
    high: float
    p_value: float  # that only chance tells them apart


def compare(first_right_N: NDArray[np.bool_], second_right_N: NDArray[np.bool_]) -> Paired:
    """Compare which images two models read right; ValueError when they are not the same images."""
    if first_right_N.shape != second_right_N.shape or not first_right_N.size:
        raise ValueError(
            f"the same images are needed, one or more; got {first_right_N.size} and "
            f"{second_right_N.size}"
        )
    num = first_right_N.size
    only_first = int((first_right_N & ~second_right_N).sum())
    only_second = int((second_right_N & ~first_right_N).sum())
    both_right = int((first_right_N & second_right_N).sum())
    low, high = bootstrap_interval(only_first, only_second, num)
    return Paired(
        num=num,
        both_right=both_right,
        only_first=only_first,
        only_second=only_second,
        both_wrong=num - both_right - only_first - only_second,
        difference=(only_second - only_first) / num,
        low=low,
        high=high,
        p_value=mcnemar(only_first, only_second),
    )


def in_words(found: Paired, *, significance: float) -> str:
    """What a comparison says; the first model is A, the second B.

    One is better where chance alone would do as much at most as often as `significance`.
    """
    if found.only_first == found.only_second == 0:
        return f"both read the same {found.both_right:,} of {found.num:,} test images right"
    low, margin, high = (100 * part for part in (found.low, found.difference, found.high))
    chance = f"exact McNemar p = {found.p_value:.2g}"
    if found.p_value > significance:
        between = f"B - A {low:+.2f} to {high:+.2f} points, 95 %"
        return f"neither is shown to be better ({between}; {chance})"
    better = "B"
    if margin < 0:
        better, low, margin, high = "A", -high, -margin, -low
    return f"{better} is better by {margin:.2f} points ({low:.2f} to {high:.2f}, 95 %; {chance})"


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test (McNemar 1947): a fair coin's, in (0, 1].

    Of the images on which the two differ, as many should fall to each if both were equally good.
    """
    num = only_first + only_second
    fewer = sum(math.comb(num, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, float(2 * fewer / 2**num))


def bootstrap_interval(only_first: int, only_second: int, num: int) -> tuple[float, float]:
    """The middle 95 % of the difference over images drawn again with replacement (Efron 1979).

    An image counts +1, -1 or 0, so drawing images is drawing from a multinomial distribution.
    """
    shares = np.array([only_first, only_second, num - only_first - only_second]) / num
    drawn = np.random.default_rng(SEED).multinomial(num, shares, size=NUM_RESAMPLES)
    low, high = np.quantile((drawn[:, 1] - drawn[:, 0]) / num, (0.025, 0.975))
    return float(low), float(high)
