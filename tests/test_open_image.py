"""Every mode and file a person has gives the same frame; what is no image is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from digits.reading.normalize import (
    MAX_PIXELS,
    UnreadableImage,
    normalize,
    open_image,
    read_frame,
)
from drawn import drawn_digit, likeness

few = settings(max_examples=25, deadline=None, derandomize=True)
labels = st.integers(0, 9)
seeds = st.integers(0, 999)


def digit(label: int = 5, seed: int = 0, size: int = 140) -> Image.Image:
    return drawn_digit(label, rng=np.random.default_rng(seed), size=size)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


# --- every mode and format ------------------------------------------------------------------------


def clear_canvas(ink: tuple[int, int, int]) -> Image.Image:
    canvas = Image.new("RGBA", (140, 140), (*ink, 255))
    canvas.putalpha(ImageChops.invert(digit()))
    return canvas


def shaded_strokes(darkest: int, lightest: int) -> Image.Image:
    shade = Image.linear_gradient("L").resize((140, 140))
    shade = shade.point([darkest + level * (lightest - darkest) // 255 for level in range(256)])
    canvas = Image.merge("RGB", [shade] * 3)
    canvas.putalpha(ImageChops.invert(digit()))
    return canvas


def coloured(ink: str, paper: str) -> Image.Image:
    return Image.composite(
        Image.new("RGB", (140, 140), paper), Image.new("RGB", (140, 140), ink), digit()
    )


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.asarray(digit()).astype(np.uint16) * 257)


MODES = {
    "1": lambda: digit().convert("1", dither=Image.Dither.NONE),
    "L": digit,
    "LA": lambda: digit().convert("LA"),
    "LA transparent": lambda: clear_canvas((0, 0, 0)).convert("LA"),
    "P": lambda: digit().convert("P"),
    "P transparent": lambda: clear_canvas((20, 20, 20)).quantize(16),
    "RGB": lambda: digit().convert("RGB"),
    "RGB yellow on white": lambda: coloured("yellow", "white"),
    "RGB blue on black": lambda: coloured("blue", "black"),
    "RGB red on a green as bright": lambda: coloured("#ff0000", "#008200"),
    "RGB red on a teal of the same mean": lambda: coloured("#f00000", "#007878"),
    "RGBA opaque": lambda: digit().convert("RGBA"),
    "RGBA dark strokes on nothing": lambda: clear_canvas((0, 0, 0)),
    "RGBA light strokes on nothing": lambda: clear_canvas((255, 255, 255)),
    "CMYK": lambda: digit().convert("CMYK"),
    "YCbCr": lambda: digit().convert("YCbCr"),
    "HSV": lambda: digit().convert("HSV"),
    "LAB": lambda: Image.merge("LAB", [digit(), *[Image.new("L", (140, 140), 128)] * 2]),
    "I": lambda: digit().convert("I"),
    "I beyond 16 bits": lambda: Image.fromarray(np.asarray(digit()).astype(np.int32) * 8_000_000),
    "I;16": sixteen_bits,
    "I;16 of 8 bits": lambda: Image.fromarray(np.asarray(digit()).astype(np.uint16)),
    "I;16 of 12 bits": lambda: Image.fromarray(np.asarray(digit()).astype(np.uint16) * 16),
    "I;16B": lambda: open_image(encoded(sixteen_bits(), "TIFF")),
    "F of 0..1": lambda: Image.fromarray(np.asarray(digit()).astype(np.float32) / 255),
    "F below zero": lambda: Image.fromarray(np.asarray(digit()).astype(np.float32) - 128),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_nearly_the_same_frame(mode: str) -> None:
    assert likeness(normalize(digit()), normalize(MODES[mode]())) > 0.97


def test_a_bare_stroke_that_fills_its_box_is_ink_on_a_clear_canvas() -> None:
    canvas = Image.new("RGBA", (140, 140), (40, 40, 40, 0))
    canvas.paste((40, 40, 40, 255), (60, 20, 76, 120))
    frame = normalize(canvas)
    assert frame[:, 14].max() == 255
    assert not frame[:, :8].any()


@pytest.mark.parametrize(("darkest", "lightest"), [(0, 90), (165, 255)])
def test_strokes_of_many_shades_on_a_clear_canvas_are_seen(darkest: int, lightest: int) -> None:
    # The shade itself remains in the frame, so it is less like the frame of plain strokes.
    assert likeness(normalize(digit()), normalize(shaded_strokes(darkest, lightest))) > 0.88


def test_float_pixels_that_are_no_numbers_do_no_harm() -> None:
    pixels = np.asarray(digit()).astype(np.float32)
    pixels[0, 0], pixels[0, 1], pixels[1, 0] = np.nan, np.inf, -np.inf
    assert likeness(normalize(digit()), normalize(Image.fromarray(pixels))) > 0.97


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_file_format_gives_nearly_the_same_frame(kind: str) -> None:
    data = encoded(digit().convert("RGB"), kind)
    assert likeness(normalize(digit()), read_frame(data)) > 0.98


def test_a_16_bit_png_is_read() -> None:
    assert likeness(normalize(digit()), read_frame(encoded(sixteen_bits(), "PNG"))) > 0.98


def test_the_first_frame_of_an_animation_is_read() -> None:
    data = encoded(digit(4), "GIF", save_all=True, append_images=[digit(7), digit(8)])
    assert likeness(normalize(digit(4)), read_frame(data)) > 0.98


def test_a_photo_is_turned_upright_by_its_exif_note() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: turn by 90 degrees clockwise to view
    data = encoded(digit(7).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    assert likeness(normalize(digit(7)), read_frame(data)) > 0.97


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size_and_read_the_same() -> None:
    data = encoded(digit(6).resize((2800, 2800)), "JPEG")
    assert max(open_image(data).size) <= 700
    assert likeness(normalize(digit(6)), read_frame(data)) > 0.97


@few
@given(labels, seeds, st.integers(25, 95), st.floats(0, 12))
def test_noise_and_jpeg_barely_change_the_frame(
    label: int, seed: int, quality: int, noise: float
) -> None:
    image = np.asarray(digit(label, seed), dtype=float) * 0.6 + 50
    grainy = image + np.random.default_rng(seed).normal(0, noise, image.shape)
    data = encoded(Image.fromarray(grainy.clip(0, 255).astype(np.uint8)), "JPEG", quality=quality)
    assert likeness(normalize(digit(label, seed)), read_frame(data)) > 0.93


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello, I am no image", "20 bytes are not an image"),
        (b"\x89PNG\r\n\x1a\n", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_bytes_that_are_no_image_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(UnreadableImage, match=says):
        open_image(data)


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7_072, 12_000, 60_000, 2**31 - 1])
def test_more_pixels_than_the_limit_are_refused_before_they_are_decoded(side: int) -> None:
    assert side**2 > MAX_PIXELS
    with pytest.raises(UnreadableImage, match=r"at most 50,000,000 pixels"):
        open_image(png_header(side, side))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_file_cut_short_is_refused(kind: str) -> None:
    data = encoded(digit().convert("RGB"), kind)
    with pytest.raises(UnreadableImage, match=r"damaged or cut short|not an image"):
        open_image(data[: len(data) // 2])


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_damaged_files_are_read_or_refused_and_nothing_else(
    kind: str, damage: list[tuple[float, int]]
) -> None:
    data = bytearray(encoded(digit(size=60).convert("RGB"), kind))
    for place, value in damage:
        data[int(place**3 * len(data))] = value  # most of it in the headers
    try:
        frame = read_frame(bytes(data))
    except UnreadableImage:
        return
    assert frame.shape == (28, 28)


@pytest.mark.parametrize(
    ("more", "refused"), [(b"", False), (b"scans", True), (b"\xff\xfe\x00\x02" * 20_000, True)]
)
def test_a_jpeg_that_is_made_to_take_long_is_refused(more: bytes, refused: bool) -> None:
    buffer = io.BytesIO()
    digit().convert("RGB").save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")  # the last of its scans, over all pixels
    more = 100 * data[last:-2] if more == b"scans" else more
    longer = data[:-2] + more + data[-2:]
    if refused:
        with pytest.raises(UnreadableImage, match="in more than 100 scans, or in more than 10,000"):
            open_image(longer)
    else:
        assert open_image(longer).size == digit().size


def test_what_a_jpeg_carries_behind_its_end_is_not_counted() -> None:
    data = encoded(digit().convert("RGB"), "JPEG") + 200 * b"\xff\xda"  # a phone's short film, say
    assert likeness(normalize(digit()), read_frame(data)) > 0.98
