"""Scores against numbers worked out by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn import metrics

from digits import scores

LABELS_N = np.array([0, 0, 1, 1, 2, 2])
PREDICTIONS_N = np.array([0, 1, 1, 1, 2, 0])


@pytest.fixture(scope="module")
def random_answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    probabilities_NK = rng.dirichlet(np.full(10, 0.3), 500)
    labels_N = np.where(
        rng.random(500) < 0.7, probabilities_NK.argmax(axis=1), rng.integers(0, 10, 500)
    )
    return labels_N, probabilities_NK


def test_accuracy_is_the_share_predicted_right() -> None:
    assert scores.accuracy(LABELS_N, PREDICTIONS_N) == 4 / 6


def test_the_wilson_interval_is_the_published_one() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263 and 0 of 20 and 1 of 29.
    for hits, num, low, high in [
        (81, 263, 0.2553, 0.3662),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert scores.wilson_interval(hits / num, num) == pytest.approx((low, high), abs=1e-4)


def test_the_wilson_interval_stays_within_0_and_1_and_needs_images() -> None:
    assert scores.wilson_interval(1.0, 7)[1] == 1.0
    assert scores.wilson_interval(0.0, 7)[0] == 0.0
    with pytest.raises(ValueError, match="num must be positive, got 0"):
        scores.wilson_interval(0.5, 0)


def test_the_standard_error_is_that_of_a_share() -> None:
    assert scores.standard_error(0.9, 100) == pytest.approx(0.03)
    assert scores.standard_error(1.0, 100) == 0


def test_the_likelihood_is_that_of_the_right_class() -> None:
    probabilities_NK = np.array([[0.5, 0.5], [0.2, 0.8]])
    found = scores.negative_log_likelihood(np.array([0, 1]), probabilities_NK)
    assert found == pytest.approx((math.log(2) - math.log(0.8)) / 2)


def test_the_likelihood_agrees_with_scikit_learn(
    random_answers: tuple[np.ndarray, np.ndarray],
) -> None:
    labels_N, probabilities_NK = random_answers
    expected = metrics.log_loss(labels_N, probabilities_NK, labels=range(10))
    assert scores.negative_log_likelihood(labels_N, probabilities_NK) == pytest.approx(expected)


def test_a_right_class_given_nothing_costs_much_and_not_infinitely() -> None:
    assert 20 < scores.negative_log_likelihood(np.array([1]), np.array([[1.0, 0.0]])) < 40


def test_calibration_error_is_the_weighted_gap_of_each_bin() -> None:
    # Two answers at 0.9, one of them right; two at 0.6, both right: (2*0.4 + 2*0.4) / 4.
    probabilities_NK = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    labels_N = np.array([0, 1, 0, 0])
    assert scores.expected_calibration_error(labels_N, probabilities_NK) == pytest.approx(0.4)


def test_opposite_gaps_in_one_bin_cancel_and_in_two_bins_add() -> None:
    probabilities_NK = np.array([[0.9, 0.1], [0.6, 0.4]])
    labels_N = np.array([1, 0])
    one = scores.expected_calibration_error(labels_N, probabilities_NK, num_bins=1)
    assert one == pytest.approx(abs(0.75 - 0.5))
    two = scores.expected_calibration_error(labels_N, probabilities_NK, num_bins=10)
    assert two == pytest.approx((0.9 + 0.4) / 2)


def test_sure_and_right_has_no_calibration_error() -> None:
    assert scores.expected_calibration_error(np.array([0, 1]), np.eye(2)) == 0


def test_the_confusion_matrix_has_labels_in_rows() -> None:
    expected = metrics.confusion_matrix(LABELS_N, PREDICTIONS_N, labels=range(4))
    found = scores.confusion_matrix(LABELS_N, PREDICTIONS_N, 4)
    assert found.tolist() == expected.tolist()
    assert found[2, 0] == 1


def test_precision_recall_and_f1_agree_with_scikit_learn(
    random_answers: tuple[np.ndarray, np.ndarray],
) -> None:
    labels_N, probabilities_NK = random_answers
    predictions_N = probabilities_NK.argmax(axis=1)
    expected = metrics.precision_recall_fscore_support(labels_N, predictions_N, labels=range(10))
    rows = scores.per_class(scores.confusion_matrix(labels_N, predictions_N, 10))
    for key, values in zip(("precision", "recall", "f1", "num"), expected, strict=True):
        assert [row[key] for row in rows] == pytest.approx(values.tolist())


def test_a_class_never_seen_nor_predicted_scores_0() -> None:
    row = scores.per_class(scores.confusion_matrix(LABELS_N, PREDICTIONS_N, 4))[3]
    assert row == {"precision": 0, "recall": 0, "f1": 0, "num": 0}
