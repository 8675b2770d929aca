"""The benchmark of what the normaliser costs, on a few images."""

from pathlib import Path

import numpy as np
from PIL import Image

import normalizer
from digits.reading.predictor import Predictor
from drawn import drawn_set
from serving_fixtures import write_bundle


def test_each_way_of_sending_an_image_is_compared_with_the_image_as_it_is(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", seed=1)
    images_NHW, _ = drawn_set(30, seed=1)
    predictor = Predictor.open(tmp_path / "bundle")
    read_N = predictor.logits(images_NHW).argmax(axis=1)
    measured = normalizer.measure(predictor, images_NHW, read_N)  # all right as they are
    assert measured["accuracy_as_they_are"] == 1.0
    assert {*measured["normalised"]} == {*normalizer.SENT}
    for row in measured["normalised"].values():
        assert row["only_normalised"] == 0
        assert row["lost_points"] == round(100 * row["only_as_they_are"] / 30, 3)
        assert row["accuracy"] == round(1 - row["only_as_they_are"] / 30, 5)


def test_a_sheet_is_light_and_has_the_digit_off_its_centre() -> None:
    frame_HW = np.zeros((28, 28), np.uint8)
    frame_HW[4:24, 12:16] = 255
    sheet = np.asarray(normalizer.on_a_sheet(Image.fromarray(frame_HW)))
    rows, columns = np.nonzero(sheet < 128)
    assert sheet.shape == (280, 280)
    assert np.median(sheet) == 255
    assert (round(rows.mean()), round(columns.mean())) == (50 + 14 * 7, 20 + 14 * 7)


def test_a_lined_sheet_has_lines_beside_the_digit_and_is_the_same_each_time() -> None:
    frame_HW = np.zeros((28, 28), np.uint8)
    frame_HW[4:24, 12:16] = 255
    for squared in (False, True):
        sheet = normalizer.on_lines(Image.fromarray(frame_HW), squared=squared)
        assert sheet == normalizer.on_lines(Image.fromarray(frame_HW), squared=squared)
        plain = np.full((280, 280), normalizer.PAPER)
        plain[:, 90:150] = 0  # the digit's columns
        darker_HW = np.asarray(sheet) < plain - 6 * normalizer.GRAIN
        assert 0.02 < darker_HW.mean() < 0.2
