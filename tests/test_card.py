"""The model card of a run: all that a stage measured is in it, with how many images it is of."""

import re
from typing import Any

import pytest

from digits.reporting import card

META = {
    "name": "cnn",
    "lineage": {"dataset": "mnist", "data_digest": "sha256:ab", "fallback": False, "seed": 7},
    "validation": {"accuracy": 0.9946, "num": 5000},
    "calibration": {"temperature": 0.4782},
    "rejection": {"threshold": 5.665, "refused": 0.0065},
}
TRAINED = {
    "run_id": "0123",
    "git_commit": "abc",
    "train_s": 720.0,
    "trainer": "cpu 32-true",
    "epochs": 11,
    "num_train": 55000,
}
METRICS: dict[str, Any] = {
    "accuracy": 0.99,
    "accuracy_low": 0.98,
    "accuracy_high": 0.995,
    "num_images": 1001,
    "accuracy_by_half": {"first_half": 0.98, "second_half": 1.0},
    "ece": 0.0016,
    "mean_corrupted_accuracy": 0.95,
    "refused_share": 0.0083,
    "handwriting_accuracy": 0.995,
    "handwriting_refused_share": 0.005,
    "num_handwriting": 200,
    "nondigits_accepted_share": 0.05,
    "num_nondigits": 300,
    "num_parameters": 76283,
    "per_class": {
        "0": {"precision": 0.5, "recall": 0.75, "f1": 0.6, "num": 100},
        "1": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "num": 0},
    },
    "corrupted_accuracy": {"shot_noise": 0.9},
}


def written(**changes: Any) -> str:
    facts: dict[str, Any] = {"meta": META, "trained": TRAINED, "metrics": METRICS, "licence": "CC0"}
    return card.write(**{**facts, **changes})


def test_every_share_says_of_how_many_images_and_in_which_interval() -> None:
    text = written()
    assert "| first half | 501 | 98.00% | 96.36% to 98.91% |" in text
    assert "| second half | 500 | 100.00% | 99.24% to 100.00% |" in text
    assert "| 0 | 100 | 75.00% | 65.70% to 82.45% | 50.00% |" in text
    assert "| shot noise | 1,001 | 90.00% | 87.99% to 91.71% |" in text
    assert "99.46% of 5,000 images that it did not learn from (99.22% to 99.63%)" in text
    assert "| read right | 1,001 | 99.00% | 98.17% to 99.46% |" in text
    assert "0.83% of 1,001 test images (0.43% to 1.61%)" in text


def test_what_is_drawn_is_told_apart_from_the_test_images() -> None:
    before, _, after = written().partition("### Drawn by a program")
    assert "handwriting" not in before
    assert "| handwriting, read right | 200 | 99.50% | 97.22% to 99.91% |" in after
    assert "| non-digits, accepted | 300 | 5.00% | 3.05% to 8.08% |" in after
    shares = {key: value for key, value in METRICS.items() if not key.startswith("num_")}
    older = shares | {"num_images": 1001, "num_parameters": 76283}
    assert "| handwriting, read right |  | 99.50% |  |" in written(metrics=older)


def test_epochs_calibration_and_refusals_are_in_it() -> None:
    text = written()
    assert "Trained on 55,000 images, 11 epochs, in 720 s on cpu 32-true" in text
    assert "calibration error: 0.16% over 1,001 test images, in 15 bins of equal width" in text
    assert "a temperature of 0.4782, fitted on 5,000 validation images" in text
    assert "less familiar than 5.665 is refused, as 0.65% of the validation images were" in text


def test_what_was_not_measured_is_said() -> None:
    assert "Not measured for this card; `make wild` does" in written()
    scored = {
        key: METRICS[key] for key in METRICS if "class" not in key and "corrupted_" not in key
    }
    text = written(metrics=scored | {"mean_corrupted_accuracy": 0.95})
    assert "By class: not measured" in text
    assert "By corruption: not measured" in text


def test_a_class_without_images_has_no_share() -> None:
    assert "| 1 | 0 |  |  | 0.00% |" in written()


def test_it_says_data_licence_run_and_limits() -> None:
    text = written()
    for part in ("sha256:ab", "CC0", "MIT", "`0123`", "`abc`", "seed 7", card.LIMITS):
        assert part in text
    assert "stand-in" not in text
    stand_in = {**META, "lineage": {**META["lineage"], "fallback": True}}
    assert "mnist, a stand-in" in written(meta=stand_in, licence=None)


@pytest.mark.parametrize(
    ("trainer", "grams", "watts"),
    [
        ("cpu 32-true", "9.6", 100),
        ("2 x cpu 32-true", "19", 200),
        ("cuda bf16-mixed", "38", 400),
        ("4 x gpu bf16-mixed", "150", "1,600"),
    ],
)
def test_carbon_is_an_estimate_of_time_and_devices(
    trainer: str, grams: str, watts: int | str
) -> None:
    text = card.cost({**TRAINED, "trainer": trainer})
    assert f" to draw {watts} W " in text
    assert re.search(rf"720 s on {trainer}: about {re.escape(grams)} g of CO₂", text)
    assert "assumed and not measured" in text
