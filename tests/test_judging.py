"""The rules of the gate: who may replace the champion."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from digits import paired, settings
from digits.judging import Measured, judge

GATE = settings.load_params(Path(__file__).parent.parent / "params.yaml").gate
CHAMPION = Measured(
    worst_class=0.99,
    ece=0.002,
    mean_corrupted_accuracy=0.95,
    wild_accuracy=0.98,
    latency_ms=0.2,
    size_bytes=300_000,
)


def answered(only_first: int, only_second: int, *, num: int = 10_000) -> paired.Paired:
    first_N, second_N = np.ones(num, bool), np.ones(num, bool)
    first_N[:only_second] = False
    second_N[only_second : only_second + only_first] = False
    return paired.compare(first_N, second_N)


def test_more_images_right_than_chance_explains_is_better() -> None:
    verdict = judge(answered(10, 40), champion=CHAMPION, selected=CHAMPION, gate=GATE)
    assert verdict.promoted
    assert verdict.reason.startswith("better by +0.30 points (+0.")
    assert verdict.reason.endswith("exact McNemar p = 2.4e-05), and every guard holds")
    assert {guard.name for guard in verdict.guards} == set(vars(CHAMPION))


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (10, 14), (40, 10), (0, 5)])
def test_what_is_not_shown_to_be_better_stays_out(only_first: int, only_second: int) -> None:
    found = answered(only_first, only_second)
    verdict = judge(found, champion=CHAMPION, selected=CHAMPION, gate=GATE)
    assert not verdict.promoted
    assert verdict.reason.startswith("not shown to be better: ")
    assert verdict.paired == found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"worst_class": 0.979}, "the recall of the worst class is 97.90%, the champion's 99.00%"),
        ({"ece": 0.008}, "the calibration error is 0.80%, the champion's 0.20%, at worst 0.70%"),
        ({"mean_corrupted_accuracy": 0.9}, "the accuracy over corruptions is 90.00%"),
        ({"wild_accuracy": 0.9}, "the accuracy on images from outside is 90.00%"),
        (
            {"latency_ms": 0.31},
            "the time for one image is 0.31 ms, the champion's 0.20 ms, at worst 0.30 ms",
        ),
        (
            {"size_bytes": 600_001},
            "the size of model.onnx is 600,001 bytes, the champion's 300,000 bytes",
        ),
    ],
)
def test_a_guard_that_does_not_hold_keeps_out_what_is_better(
    change: dict[str, float], said: str
) -> None:
    selected = replace(CHAMPION, **change)
    verdict = judge(answered(0, 50), champion=CHAMPION, selected=selected, gate=GATE)
    assert not verdict.promoted
    assert verdict.reason.startswith("better by +0.50 points")
    assert said in verdict.reason
    (broken,) = [guard for guard in verdict.guards if not guard.held]
    assert broken.name == next(iter(change))


def test_a_guard_at_its_bound_holds_and_one_that_is_unknown_is_left_out() -> None:
    selected = replace(CHAMPION, worst_class=0.98, latency_ms=0.3, wild_accuracy=None)
    verdict = judge(answered(0, 50), champion=CHAMPION, selected=selected, gate=GATE)
    assert verdict.promoted
    assert "wild_accuracy" not in {guard.name for guard in verdict.guards}
    assert verdict.reason.endswith(
        "every guard holds; not known of both, and so not compared: the accuracy on images from "
        "outside"
    )


def test_settings_decide() -> None:
    strict = replace(GATE, significance=1e-9)
    assert not judge(answered(10, 40), champion=CHAMPION, selected=CHAMPION, gate=strict).promoted
    lenient = replace(GATE, significance=1.0)
    assert judge(answered(10, 12), champion=CHAMPION, selected=CHAMPION, gate=lenient).promoted
