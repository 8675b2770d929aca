"""The corruptions of MNIST-C: each does to a frame what it says, by as much as it says.

Shapes: N images, H/W pixels.
"""

import math

import numpy as np
import pytest

from digits.corruptions import CORRUPTIONS, SMALLEST, corrupt
from digits.corruptions.ink import NDArrayU8
from drawn import drawn_set

FIXED = ("scale", "brightness", "stripe", "canny_edges")  # nothing happens by chance
INKLESS = "shot_noise glass_blur motion_blur shear scale rotate translate fog canny_edges"
every = pytest.mark.parametrize("name", CORRUPTIONS)


@pytest.fixture(scope="module")
def digits_NHW() -> NDArrayU8:
    frames_NHW, _ = drawn_set(30, seed=1)
    frames_NHW.flags.writeable = False  # a corruption that writes into its input fails
    return frames_NHW


def blank(num: int, size: int = 28) -> NDArrayU8:
    return np.zeros((num, size, size), np.uint8)


def bars(num: int) -> NDArrayU8:
    """Upright bars in the middle, 2 wide and 12 high."""
    frames_NHW = blank(num)
    frames_NHW[:, 8:20, 13:15] = 255
    return frames_NHW


def moments(frame_HW: NDArrayU8) -> tuple[float, ...]:
    """Mean y and x, variance of y and x, covariance of the ink, pixels."""
    places = np.argwhere(frame_HW).T
    weights = frame_HW[frame_HW > 0]
    spread = np.cov(places, aweights=weights, ddof=0)
    means = np.average(places, axis=1, weights=weights)
    return (*map(float, means), float(spread[0, 0]), float(spread[1, 1]), float(spread[0, 1]))


# --- all of them ----------------------------------------------------------------------------------


def test_there_are_the_papers_fifteen_in_its_order() -> None:
    assert " ".join(CORRUPTIONS) == (
        "shot_noise impulse_noise glass_blur motion_blur shear scale rotate brightness translate "
        "stripe fog spatter dotted_line zigzag canny_edges"
    )


@every
@pytest.mark.parametrize("size", [SMALLEST, 21, 28, 56])
def test_frames_keep_shape_and_kind_and_change(name: str, size: int, digits_NHW: NDArrayU8) -> None:
    index = np.arange(size) * 28 // size
    frames_NHW = digits_NHW[:, index][:, :, index]
    out_NHW = corrupt(name, frames_NHW, seed=0)
    assert (out_NHW.dtype, out_NHW.shape) == (np.uint8, frames_NHW.shape)
    changed_N = (out_NHW != frames_NHW).any(axis=(1, 2))
    assert changed_N.all() if size >= 28 else changed_N.mean() > 0.8
    assert corrupt(name, frames_NHW[:0], seed=0).shape == (0, size, size)


@every
def test_the_seed_decides_what_chance_does(name: str, digits_NHW: NDArrayU8) -> None:
    first_NHW = corrupt(name, digits_NHW, seed=3)
    assert np.array_equal(corrupt(name, digits_NHW, seed=3), first_NHW)
    assert np.array_equal(corrupt(name, digits_NHW, seed=4), first_NHW) == (name in FIXED)


@every
def test_images_of_a_batch_differ_by_chance_too(name: str, digits_NHW: NDArrayU8) -> None:
    same_NHW = np.repeat(digits_NHW[:1], 12, axis=0)
    kinds = len(np.unique(corrupt(name, same_NHW, seed=0), axis=0))
    assert (kinds == 1) == (name in FIXED)


@pytest.mark.parametrize("name", INKLESS.split())
def test_blank_frames_among_digits_stay_blank(name: str, digits_NHW: NDArrayU8) -> None:
    mixed_NHW = digits_NHW.copy()
    mixed_NHW[1::2] = 0
    out_NHW = corrupt(name, mixed_NHW, seed=0)
    assert not out_NHW[1::2].any()
    assert out_NHW[::2].any(axis=(1, 2)).all()


@pytest.mark.parametrize("name", FIXED)
def test_an_image_alone_comes_out_as_in_a_batch(name: str, digits_NHW: NDArrayU8) -> None:
    alone_NHW = np.concatenate([corrupt(name, digits_NHW[i : i + 1], seed=0) for i in range(5)])
    assert np.array_equal(corrupt(name, digits_NHW, seed=0)[:5], alone_NHW)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"one of shot_noise, .*canny_edges; got 'snow'"):
        corrupt("snow", blank(1), seed=0)


@pytest.mark.parametrize(
    "frames", [blank(1)[0], blank(1).astype(np.float32), blank(1)[:, :20], blank(1, SMALLEST - 1)]
)
def test_frames_of_another_kind_are_refused(frames: NDArrayU8) -> None:
    with pytest.raises(ValueError, match=r"frames must be uint8 of shape \(N, H, H\) with H >= 8"):
        corrupt("fog", frames, seed=0)


# --- noise and light ------------------------------------------------------------------------------


def test_shot_noise_counts_up_to_three_photons_and_keeps_the_mean() -> None:
    out_NHW = corrupt("shot_noise", np.full((40, 28, 28), 51, np.uint8), seed=0)
    assert set(np.unique(out_NHW)) == {0, 85, 170, 255}
    assert out_NHW.mean() == pytest.approx(51, abs=2)


def test_impulse_noise_sets_17_in_100_pixels_half_of_them_to_ink() -> None:
    out_NHW = corrupt("impulse_noise", np.full((100, 28, 28), 100, np.uint8), seed=0)
    assert set(np.unique(out_NHW)) == {0, 100, 255}
    for value in (0, 255):
        assert (out_NHW == value).mean() == pytest.approx(0.085, abs=0.005)


def test_brightness_adds_half_of_full_ink_everywhere(digits_NHW: NDArrayU8) -> None:
    out_NHW = corrupt("brightness", digits_NHW, seed=0).astype(float)
    assert np.abs(out_NHW - np.minimum(digits_NHW + 127.5, 255)).max() <= 0.5


def test_stripe_inverts_seven_columns_on_each_side(digits_NHW: NDArrayU8) -> None:
    out_NHW = corrupt("stripe", digits_NHW, seed=0)
    assert np.array_equal(out_NHW[:, :, 7:21], digits_NHW[:, :, 7:21])
    assert np.array_equal(out_NHW[:, :, :7], 255 - digits_NHW[:, :, :7])
    assert np.array_equal(out_NHW[:, :, 21:], 255 - digits_NHW[:, :, 21:])


def test_fog_hides_the_paper_and_leaves_a_quarter_of_the_contrast(digits_NHW: NDArrayU8) -> None:
    out_NHW = corrupt("fog", digits_NHW, seed=0).astype(float)
    assert (out_NHW.max(axis=(1, 2)) <= digits_NHW.max(axis=(1, 2))).all()
    paper, full = (out_NHW[digits_NHW == grey].mean() for grey in (0, 255))
    assert 60 < paper < 130
    assert full - paper == pytest.approx(255 / 4, abs=15)


def test_fog_is_smooth_within_an_image_and_varies_from_image_to_image() -> None:
    frames_NHW = blank(60)
    frames_NHW[:, 0, 0] = 255  # a frame without ink stays without fog
    fog_NHW = corrupt("fog", frames_NHW, seed=0).astype(float)[:, 1:, 1:]
    steps = np.abs(np.diff(fog_NHW, axis=2)).mean()
    assert 0 < steps < 5
    assert fog_NHW.mean(axis=(1, 2)).std() > 2 * steps
    assert fog_NHW.std(axis=(1, 2)).mean() > 2 * steps


def test_spatter_is_thin_grey_in_few_places_and_hides_the_ink_there() -> None:
    on_paper_NHW = corrupt("spatter", blank(50), seed=0)
    covered_NHW = on_paper_NHW > 0
    assert 50 <= on_paper_NHW[covered_NHW].min() <= on_paper_NHW.max() <= 63
    assert 0.02 < covered_NHW.mean() < 0.2
    on_ink_NHW = corrupt("spatter", np.full((50, 28, 28), 255, np.uint8), seed=0)
    assert (on_ink_NHW[~covered_NHW] == 255).all()
    assert on_ink_NHW[covered_NHW].max() <= 63 + 52  # at least 0.8 of the ink is hidden


# --- blur -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["glass_blur", "motion_blur"])
def test_a_blur_spreads_the_ink_and_keeps_its_amount(name: str) -> None:
    out_NHW = corrupt(name, bars(20), seed=0)
    assert out_NHW.sum(axis=(1, 2), dtype=float) == pytest.approx(float(bars(1).sum()), rel=0.03)
    assert (np.count_nonzero(out_NHW, axis=(1, 2)) > 2 * np.count_nonzero(bars(1))).all()


def test_motion_blur_smears_to_the_left_and_no_steeper_than_45_degrees() -> None:
    frames_NHW = blank(50)
    frames_NHW[:, 14, 20] = 255
    rises = []
    for out_HW in corrupt("motion_blur", frames_NHW, seed=0):
        y, x, *_ = moments(out_HW)
        assert 1.3 < 20 - x < 2.3  # half a Gaussian of 3 pixels, seen from the side
        assert abs(y - 14) <= 20 - x + 0.1
        rises.append(y - 14)
    assert np.ptp(rises) > 2


def test_glass_blur_moves_ink_sideways_too() -> None:
    widths = [moments(out_HW)[3] for out_HW in corrupt("glass_blur", bars(20), seed=0)]
    assert min(widths) > 2 * moments(bars(1)[0])[3]


# --- geometry -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "pixels"), [(28, 3), (56, 6)])
def test_translate_moves_three_pixels_of_28_along_both_axes(size: int, pixels: int) -> None:
    frames_NHW = blank(40, size)
    middle = size // 2
    frames_NHW[:, middle, middle] = 255
    _, ys, xs = np.nonzero(corrupt("translate", frames_NHW, seed=0))
    sides = (middle - pixels, middle + pixels)
    assert set(zip(ys, xs, strict=True)) == {(y, x) for y in sides for x in sides}


def test_rotate_turns_by_0_4_radians_to_either_side_about_the_middle() -> None:
    angles = []
    for out_HW in corrupt("rotate", bars(30), seed=0):
        y, x, var_y, var_x, covariance = moments(out_HW)
        assert (y, x) == pytest.approx((13.5, 13.5), abs=0.1)
        angles.append(0.5 * math.atan2(2 * covariance, var_y - var_x))
    assert np.abs(angles) == pytest.approx(0.4, abs=0.01)
    assert min(angles) < 0 < max(angles)


def test_shear_tips_uprights_to_either_side_about_the_middle() -> None:
    slants = []
    for out_HW in corrupt("shear", bars(30), seed=0):
        y, x, var_y, _, covariance = moments(out_HW)
        assert (y, x) == pytest.approx((13.5, 13.5), abs=0.1)
        taller = math.sqrt(var_y / moments(bars(1)[0])[2])
        assert taller == pytest.approx(1 / math.cos(0.4), abs=0.02)
        slants.append(covariance / var_y)
    assert np.abs(slants) == pytest.approx(math.sin(0.4), abs=0.02)
    assert min(slants) < 0 < max(slants)


def test_scale_shrinks_to_70_percent_about_the_middle() -> None:
    frames_NHW = blank(1)
    frames_NHW[:, 4:16, 6:22] = 255
    before, after = moments(frames_NHW[0]), moments(corrupt("scale", frames_NHW, seed=0)[0])
    for axis in (0, 1):
        assert after[axis] - 13.5 == pytest.approx(0.7 * (before[axis] - 13.5), abs=0.1)
        assert math.sqrt(after[2 + axis] / before[2 + axis]) == pytest.approx(0.7, abs=0.02)


# --- strokes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dotted_line", "zigzag"])
def test_a_stray_stroke_only_adds_ink(name: str, digits_NHW: NDArrayU8) -> None:
    out_NHW = corrupt(name, digits_NHW, seed=0)
    assert (out_NHW >= digits_NHW).all()
    stroke_NHW = corrupt(name, np.zeros_like(digits_NHW), seed=0)
    together_NHW = np.minimum(digits_NHW.astype(int) + stroke_NHW, 255)
    assert np.abs(together_NHW - out_NHW).max() <= 1  # rounded once or twice


def test_a_dotted_line_has_two_columns_on_and_two_off_from_side_to_side() -> None:
    out_NHW = corrupt("dotted_line", blank(60), seed=0)
    on = [x for x in range(27) if x % 4 >= 2]
    assert {tuple(np.flatnonzero(out_HW.any(axis=0))) for out_HW in out_NHW} == {tuple(on)}
    ys_NW = out_NHW.argmax(axis=1)[:, on]
    slopes_N, starts_N = np.polyfit(on, ys_NW.T, 1)
    assert np.abs(np.outer(slopes_N, on) + starts_N[:, None] - ys_NW).max() < 1  # straight
    assert (np.count_nonzero(out_NHW, axis=1) <= 3).all()  # thin
    assert np.ptp(slopes_N) > 1
    assert np.ptp(starts_N) > 20


def test_a_zigzag_turns_six_times_on_its_way() -> None:
    out_NHW = corrupt("zigzag", blank(60), seed=0).astype(float)
    inside = ~out_NHW[:, [0, 1, 26, 27]].any(axis=(1, 2))  # none of it beyond the frame
    assert inside.sum() > 10
    for out_HW in out_NHW[inside]:
        columns = np.flatnonzero(out_HW.any(axis=0))
        assert np.array_equal(columns, np.arange(columns[0], columns[-1] + 1))
        assert 22 < len(columns) < 26
        path = (np.arange(28) @ out_HW / np.maximum(out_HW.sum(axis=0), 1))[columns]
        off = path - np.polyval(np.polyfit(columns, path, 1), columns)
        sides = np.sign(off[np.abs(off) > 0.6])
        assert np.count_nonzero(np.diff(sides)) == 5  # six corners, on alternate sides
        assert 4 < np.ptp(off) < 5  # two pixels to either side, and more where it is tilted


def test_canny_edges_are_the_thin_outline_and_nothing_else() -> None:
    frames_NHW = blank(1)
    frames_NHW[:, 8:20, 8:20] = 255
    (edges_HW,) = corrupt("canny_edges", frames_NHW, seed=0)
    assert set(edges_HW.flat) == {0, 255}
    assert not edges_HW[10:18, 10:18].any()
    assert np.count_nonzero(edges_HW) == np.count_nonzero(edges_HW[7:21, 7:21])
    for line in (*edges_HW[10:18], *edges_HW.T[10:18]):
        assert 2 <= np.count_nonzero(line) <= 4  # one pixel a side, or two that tie


def test_the_rim_of_a_frame_is_no_edge(digits_NHW: NDArrayU8) -> None:
    assert not corrupt("canny_edges", digits_NHW, seed=0)[:, [0, -1]].any()


def test_canny_keeps_weak_edges_only_where_they_join_a_strong_one() -> None:
    frames_NHW = blank(2)
    frames_NHW[:, 10:18, 2:26] = 12
    frames_NHW[1, 10:18, 2:26] = np.linspace(40, 12, 24)  # the same strip, but it begins strong
    alone_HW, joined_HW = corrupt("canny_edges", frames_NHW, seed=0)
    assert not alone_HW.any()
    assert joined_HW[:, 18:22].any(axis=0).all()
