"""The one road for pixels: what must not change a frame, and what is no ink."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageOps

from digits.reading.normalize import UnreadableImage, normalize, normalize_row
from digits.reading.planes import quantile
from drawn import drawn_digit, drawn_set, likeness

few = settings(max_examples=25, deadline=None, derandomize=True)
labels = st.integers(0, 9)
seeds = st.integers(0, 999)


def digit(label: int = 5, seed: int = 0, size: int = 140) -> Image.Image:
    return drawn_digit(label, rng=np.random.default_rng(seed), size=size)


# --- the frame ------------------------------------------------------------------------------------


@few
@given(labels, seeds)
def test_the_longest_side_is_20_pixels_and_the_mass_is_in_the_middle(label: int, seed: int) -> None:
    frame = normalize(digit(label, seed))
    assert frame.shape == (28, 28)
    assert frame.dtype == np.uint8
    ys, xs = np.nonzero(frame > 40)
    assert 19 <= max(np.ptp(ys), np.ptp(xs)) + 1 <= 23  # thickened hair lines may add a little
    total = frame.sum()
    assert frame.sum(axis=1) @ (np.arange(28) + 0.5) / total == pytest.approx(14.5, abs=1.0)
    assert frame.sum(axis=0) @ (np.arange(28) + 0.5) / total == pytest.approx(14.5, abs=1.0)
    assert frame.max() > 200


def test_different_digits_give_different_frames() -> None:
    frames = [normalize(digit(label)) for label in range(10)]
    for i in range(10):
        for j in range(i):
            assert likeness(frames[i], frames[j]) < 0.9


@pytest.mark.parametrize("share", [0.02, 0.04, 0.06, 0.08, 0.12, 0.2])
@pytest.mark.parametrize("shade", [0, 60, 255])
def test_a_frame_around_the_image_is_no_paper(share: float, shade: int) -> None:
    for label in range(10):
        sheet = ImageOps.invert(digit(label))
        framed = ImageOps.expand(sheet, round(share * sheet.width), fill=shade)
        assert likeness(normalize(sheet), normalize(framed)) > 0.97


def test_an_mnist_like_frame_barely_changes() -> None:
    for frame in drawn_set(40, seed=3)[0]:
        again = normalize(Image.fromarray(frame))
        assert np.abs(again.astype(int) - frame).mean() < 3
        assert likeness(frame, again) > 0.98


@pytest.mark.parametrize("size", [280, 300, 560])
@pytest.mark.parametrize("label", [1, 4, 8])
def test_a_large_digit_on_a_canvas_looks_the_same_on_the_coarser_plane(
    label: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    canvas = digit(label, size=size)
    quickly, side = normalize(canvas), normalize_row(canvas).side
    monkeypatch.setattr("digits.reading.normalize.CLEAR", size)  # nothing is: the finer one
    assert not np.array_equal(quickly, normalize(canvas))
    assert likeness(quickly, normalize(canvas)) > 0.985
    assert side == pytest.approx(normalize_row(canvas).side, abs=2 * size / 140)


def test_a_small_digit_on_a_large_canvas_is_taken_from_the_finer_plane() -> None:
    canvas = Image.new("L", (300, 300), 255)
    canvas.paste(digit(3, size=60), (100, 120))
    cut = canvas.crop((80, 100, 200, 200))
    assert likeness(normalize(canvas), normalize(cut)) > 0.99


@few
@given(st.lists(st.floats(0, 255, width=32), min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_numpys(values: list[float], share: float) -> None:
    plane_N = np.array(values, np.float32)
    assert quantile(plane_N, share) == pytest.approx(float(np.quantile(plane_N, share)), abs=1e-3)


@pytest.mark.parametrize("size", [8, 16, 28, 56])
def test_the_frame_has_the_size_asked_for(size: int) -> None:
    frame = normalize(digit(), size=size)
    assert frame.shape == (size, size)
    assert frame.max() > 150


def test_a_hair_line_comes_out_as_thick_as_thin_strokes_in_mnist() -> None:
    hair = Image.new("L", (280, 280), 255)
    ImageDraw.Draw(hair).line([(60, 60), (220, 60), (120, 230)], fill=0, width=2)
    pen = Image.new("L", (280, 280), 255)
    ImageDraw.Draw(pen).line([(60, 60), (220, 60), (120, 230)], fill=0, width=14)
    assert normalize(hair).max() > 200
    assert 0.6 < normalize(hair).sum() / normalize(pen).sum() < 1.3


# --- what must not change it ----------------------------------------------------------------------


@few
@given(labels, seeds, st.integers(-12, 12), st.integers(-12, 12))
def test_moving_a_drawing_barely_changes_the_frame(label: int, seed: int, dx: int, dy: int) -> None:
    canvas = Image.new("L", (180, 180), 255)
    moved = canvas.copy()
    canvas.paste(digit(label, seed), (20, 20))
    moved.paste(digit(label, seed), (20 + dx, 20 + dy))
    assert likeness(normalize(canvas), normalize(moved)) > 0.99


@few
@given(labels, seeds, st.floats(0.4, 6.0))
def test_scaling_a_drawing_barely_changes_the_frame(label: int, seed: int, factor: float) -> None:
    image = digit(label, seed)
    side = round(image.width * factor)
    scaled = image.resize((side, side), Image.Resampling.LANCZOS)
    assert likeness(normalize(image), normalize(scaled)) > 0.95


@few
@given(labels, seeds)
def test_inverting_a_drawing_barely_changes_the_frame(label: int, seed: int) -> None:
    image = digit(label, seed)
    assert likeness(normalize(image), normalize(ImageChops.invert(image))) > 0.99


@few
@given(labels, seeds, st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_padding_a_drawing_barely_changes_the_frame(
    label: int, seed: int, left: int, top: int, right: int
) -> None:
    image = digit(label, seed)
    padded = Image.new("L", (image.width + left + right, image.height + top), 255)
    padded.paste(image, (left, top))
    assert likeness(normalize(image), normalize(padded)) > 0.95


@few
@given(labels, seeds, st.integers(0, 200), st.integers(20, 255))
def test_brightness_and_contrast_barely_change_the_frame(
    label: int, seed: int, darkest: int, range_: int
) -> None:
    image = digit(label, seed)
    range_ = min(range_, 255 - darkest)
    faded = image.point([round(darkest + level * range_ / 255) for level in range(256)])
    assert likeness(normalize(image), normalize(faded)) > 0.98


@few
@given(labels, seeds, st.integers(-80, 80), st.integers(-80, 80), st.integers(-40, 0))
def test_uneven_light_barely_changes_the_frame(
    label: int, seed: int, across: int, down: int, vignette: int
) -> None:
    image = np.asarray(digit(label, seed), dtype=float)
    y, x = np.mgrid[-1:1:140j, -1:1:140j]
    light = 0.7 + (across * x + down * y + vignette * (x**2 + y**2)) / 255 / 2
    lit = Image.fromarray(np.clip((image * 0.7 + 60) * light, 0, 255).astype(np.uint8))
    assert likeness(normalize(digit(label, seed)), normalize(lit)) > 0.93


@few
@given(labels, seeds)
def test_heavy_grain_is_smoothed_until_the_ink_stands_out(label: int, seed: int) -> None:
    grain = np.random.default_rng(seed).normal(0, 18, (280, 280))
    image = np.asarray(digit(label, seed, size=280), dtype=float) * 0.5 + 80 + grain
    grainy = Image.fromarray(image.clip(0, 255).astype(np.uint8))
    assert likeness(normalize(digit(label, seed, size=280)), normalize(grainy)) > 0.93


def test_specks_and_a_cell_line_at_the_edge_do_not_move_the_digit() -> None:
    dirty = digit(3, 4)
    pen = ImageDraw.Draw(dirty)
    for x, y in [(4, 130), (130, 7), (9, 12)]:
        pen.point([(x, y), (x + 1, y)], fill=0)
    pen.line([(0, 137), (139, 137)], fill=0, width=3)
    assert likeness(normalize(digit(3, 4)), normalize(dirty)) > 0.99


def test_a_digit_made_of_two_strokes_keeps_both() -> None:
    canvas = Image.new("L", (140, 140), 255)
    pen = ImageDraw.Draw(canvas)
    pen.line([(45, 30), (40, 75), (95, 75)], fill=0, width=8)
    one_stroke = normalize(canvas)
    pen.line([(108, 45), (104, 115)], fill=0, width=8)  # beside it and not touching
    both = normalize(canvas)
    assert likeness(one_stroke, both) < 0.8
    assert np.count_nonzero(both[:, 18:] > 128) > 10


@pytest.mark.parametrize("frame_level", [0, 90])
def test_a_sheet_in_a_darker_frame_is_read_like_the_sheet_alone(frame_level: int) -> None:
    framed = Image.new("L", (280, 240), frame_level)
    framed.paste(digit(2, 5), (70, 40))
    assert likeness(normalize(digit(2, 5)), normalize(framed)) > 0.95


@few
@given(labels, seeds, st.floats(0, 6.28), st.floats(-0.4, 0.4))
def test_a_shadow_with_a_sharp_edge_is_not_taken_for_ink(
    label: int, seed: int, angle: float, place: float
) -> None:
    image = np.asarray(digit(label, seed), dtype=float) * 0.6 + 80
    y, x = np.mgrid[-1:1:140j, -1:1:140j]
    beyond = np.cos(angle) * x + np.sin(angle) * y > place
    shaded = Image.fromarray((image * np.where(beyond, 0.7, 1)).astype(np.uint8))
    assert likeness(normalize(digit(label, seed)), normalize(shaded)) > 0.82


def test_ink_beside_a_hard_shadow_is_as_large_as_without_one() -> None:
    """Shadows are found on a smaller copy, and the size is that of the picture all the same."""
    paper = Image.new("L", (640, 640), 200)
    paper.paste(digit(7, 3).resize((160, 160)).point(lambda level: level * 200 // 255), (120, 240))
    shaded = np.asarray(paper).copy()
    shaded[:, 400:] = shaded[:, 400:] * 0.6
    alone, beside = normalize_row(paper), normalize_row(Image.fromarray(shaded))
    assert beside.side == pytest.approx(alone.side, rel=0.1)


# --- no ink ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (28, 28), 0),
        Image.new("RGB", (300, 200), "white"),
        Image.new("RGBA", (50, 50), (0, 0, 0, 0)),
        Image.new("I;16", (40, 40), 30000),
        Image.new("F", (40, 40), 0.5),
        Image.new("F", (41, 40), -3.0),
        Image.new("1", (1, 1), 1),
        Image.new("L", (1, 500), 255),
        Image.linear_gradient("L"),
    ],
    ids=lambda image: f"{image.mode} {image.size}",
)
def test_a_blank_image_gives_an_empty_frame(image: Image.Image) -> None:
    assert not normalize(image).any()


def test_the_grain_of_blank_paper_is_no_ink() -> None:
    for seed in range(5):
        grain = 180 + np.random.default_rng(seed).normal(0, 6, (200, 300))
        assert not normalize(Image.fromarray(grain.astype(np.uint8))).any()


@few
@given(st.integers(1, 40), st.integers(1, 40), st.randoms(use_true_random=False))
def test_any_pixels_give_a_frame(width: int, height: int, random: object) -> None:
    pixels = np.frombuffer(random.randbytes(width * height), np.uint8)  # type: ignore[attr-defined]
    assert normalize(Image.fromarray(pixels.reshape(height, width))).shape == (28, 28)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="no pixels"):
        normalize(Image.new("L", (0, 5)))


@pytest.mark.parametrize("width", [10, 12, 20, 40])
def test_a_dot_is_a_blot_and_a_thick_bar_is_none(width: int) -> None:
    dot, bar = (Image.new("L", (280, 280), 255) for _ in range(2))
    ImageDraw.Draw(dot).ellipse((100, 100, 100 + width, 100 + width), fill=0)
    ImageDraw.Draw(bar).rectangle((100, 100, 100 + width, 100 + 2 * width), fill=0)
    assert normalize_row(dot).blot
    assert not normalize_row(bar).blot
    assert not any(normalize_row(digit(label)).blot for label in range(10))
    assert not normalize_row(Image.new("L", (28, 28), 255)).blot


# --- the module -----------------------------------------------------------------------------------


def test_reading_needs_numpy_and_pillow_alone() -> None:
    code = (
        "import sys; import digits.reading.normalize; "
        "print([n for n in ('scipy', 'torch', 'onnxruntime', 'yaml') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_drawn_set_is_balanced_and_repeats_for_a_seed() -> None:
    images, labels_B = drawn_set(40, seed=1)
    assert np.bincount(labels_B, minlength=10).tolist() == [4] * 10
    assert images.shape == (40, 28, 28)
    np.testing.assert_array_equal(images, drawn_set(40, seed=1)[0])
    assert (images != drawn_set(40, seed=2)[0]).any()
