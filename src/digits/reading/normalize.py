"""Turn any image a person has into the 28x28 frame MNIST was made in. The one road for pixels.

bytes → image → plane of grey levels (planes) → ink of one digit (ink) → MNIST's own recipe: aspect
kept, longest side on 20 of 28 pixels with anti-aliasing, centre of mass in the middle.

Shapes: H/W pixels.
"""

import contextlib
import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .ink import Box, Ink, find_ink
from .jpeg import MOST_PARTS, MOST_SCANS, Laborious, expect_few_scans
from .planes import WORK_SIDE, NDArrayF32, plane
from .png import MOST_PIECES, Shredded, pixels_alone

NDArrayU8 = NDArray[np.uint8]

# Above this an image is refused before a pixel is decoded: a 48-megapixel phone photo still fits,
# a decompression bomb does not.
MAX_PIXELS = 50_000_000

# What Pillow decodes by itself. EPS, for one, would start another program on a stranger's bytes.
# JPEG covers the MPO that many phones write.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")

BOX_SHARE = 20 / 28  # MNIST: the longest side of the ink is 20 of 28 pixels
# MNIST's centres of mass lie evenly between 14 and 15 (edges at 0 and 28), so whole-pixel steps
# were made around 14.5.
CENTRE_SHIFT = 0.5
# px. Large digits on a canvas of twice this or more are looked for on a coarser plane, which takes
# a third of the time: CLEAR px of each there are half as many again as a frame needs.
CANVAS_SIDE = 140
CLEAR = 30
SAME_SCALE = 0.06  # a digit this near to MNIST's scale is moved and not resampled
OVERSAMPLE = 4  # strokes are measured and changed on a frame this many times as fine
# Pixels of a 28-pixel frame, the 10th and 80th percentile of MNIST's training images as measured
# by _stroke_width: thinner and thicker pens are brought there.
STROKE_WIDTHS = (1.8, 3.1)
# Of the longest side, from which strokes are so wide that there are none: a disc has 0.5, the
# widest of MNIST's 10,000 test images 0.37.
BLOT_WIDTH = 0.45


class UnreadableImage(ValueError):
    """The bytes hold no image that can be read; the message says what is wrong and what to do."""


def open_image(data: bytes) -> Image.Image:
    """Decode a PNG, JPEG, WebP, BMP, GIF (first frame) or TIFF file, turned upright by its EXIF.

    A JPEG much larger than a digit needs comes out reduced. Raises UnreadableImage, and nothing
    else, for whatever is not such an image: empty, damaged, cut short, of another kind, without
    pixels, or with more than MAX_PIXELS of them.
    """
    return decoded(open_header(data))


def open_header(data: bytes) -> Image.Image:
    """The first half of `open_image`: what a file says of its image, no pixel decoded yet."""
    if not data:
        raise UnreadableImage("the image is empty (0 bytes); send a file with an image in it")
    try:
        expect_few_scans(data)
        image = Image.open(io.BytesIO(pixels_alone(data)), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(_too_large("far too many")) from None
    except Shredded:
        raise UnreadableImage(
            f"the PNG image comes in more than {MOST_PIECES} pieces; save it with another program"
        ) from None
    except Laborious:
        raise UnreadableImage(
            f"the JPEG image comes in more than {MOST_SCANS} scans, or in more than "
            f"{MOST_PARTS:,} parts; save it with another program"
        ) from None
    except Exception:  # on hostile bytes Pillow's parsers raise a dozen kinds
        raise UnreadableImage(
            f"the {len(data)} bytes are not an image that can be read; "
            "send a PNG, JPEG, WebP, BMP, GIF or TIFF file"
        ) from None
    _expect_pixels(image)
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(_too_large(f"{image.width}x{image.height}"))
    return image


def decoded(image: Image.Image) -> Image.Image:
    """The second half of `open_image`."""
    try:
        image.draft("RGB", (WORK_SIDE, WORK_SIDE))
        image.load()
    except Exception:
        raise UnreadableImage(
            f"the {image.format} image is damaged or cut short; send the whole file"
        ) from None
    with contextlib.suppress(Exception):  # the pixels are good, if not the note beside them
        ImageOps.exif_transpose(image, in_place=True)
    return image


def normalize(image: Image.Image, *, size: int = 28) -> NDArrayU8:
    """The frame of an image of any mode, size and polarity: (size, size), 0 = paper, 255 = ink.

    All zero when the image is blank. Raises UnreadableImage when it has no pixels.
    Source: the recipe on MNIST's page (LeCun, Cortes, Burges, yann.lecun.com/exdb/mnist).
    """
    return normalize_row(image, size=size).frame


@dataclass(frozen=True)
class Frames:
    """What was found on an image, as frames (H, W) of 0 = paper, 255 = ink."""

    frame: NDArrayU8  # the digit; all zero when the image is blank
    side: int  # px of its ink's longest side, on an image reduced to at most twice WORK_SIDE
    row: tuple[NDArrayU8, ...] = ()  # each of what may be digits side by side, from the left
    together: NDArrayU8 | None = None  # and all of those as if they were one digit
    blot: bool = False  # the ink is as wide as it is long and filled: a dot, and no stroke


def normalize_row(image: Image.Image, *, size: int = 28) -> Frames:
    """As `normalize`, and what may be further digits beside the one."""
    _expect_pixels(image)
    found = _find(image)
    frame_HW = _frame(found, size)
    side = round(_side(found) * found.grain)
    blot = _is_blot(found)
    if found.together is None:
        return Frames(frame_HW, side, blot=blot)
    row = tuple(
        frame_HW if part.ink_HW is found.ink_HW else _frame(part, size) for part in found.row
    )
    return Frames(frame_HW, side, row, _frame(found.together, size), blot)


def _is_blot(found: Ink) -> bool:
    left, top, right, bottom = found.box
    around_HW = _cut(found.ink_HW, (left - 1, top - 1, right + 1, bottom + 1))
    return found.reason is None and bool(_stroke_width(around_HW) >= BLOT_WIDTH * _side(found))


def _find(image: Image.Image) -> Ink:
    if 2 * CANVAS_SIDE <= max(image.size) < 2 * WORK_SIDE:
        coarse = find_ink(plane(image, side=CANVAS_SIDE))
        if coarse.even and all(_side(digit) >= CLEAR for digit in coarse.row or [coarse]):
            return replace(coarse, grain=coarse.grain * (max(image.size) // CANVAS_SIDE))
    return find_ink(plane(image))


def _side(found: Ink) -> int:
    """px of the longest side of the ink's box."""
    left, top, right, bottom = found.box
    return max(right - left, bottom - top)


def read_frame(data: bytes, *, size: int = 28) -> NDArrayU8:
    """open_image, then normalize: (size, size), 0 = paper, 255 = ink."""
    return normalize(open_image(data), size=size)


def _expect_pixels(image: Image.Image) -> None:
    if image.width < 1 or image.height < 1:
        raise UnreadableImage(
            f"the image has no pixels ({image.width}x{image.height}); send one that has some"
        )


def _too_large(pixels: str) -> str:
    return f"the image has {pixels} pixels; send one of at most {MAX_PIXELS:,} pixels"


def _frame(found: Ink, size: int) -> NDArrayU8:
    """The ink in a frame, as bytes; paper where there is none."""
    if found.reason is not None:
        return np.zeros((size, size), np.uint8)
    return np.rint(_placed(found, size) * 255).astype(np.uint8)


def _placed(found: Ink, size: int) -> NDArrayF32:
    """The ink in a frame as MNIST's makers placed it: (size, size) in 0..1."""
    left, top, right, bottom = found.box
    scale = size * BOX_SHARE / _side(found)  # frame pixels per ink pixel
    mass_H, mass_W = found.ink_HW.sum(axis=1), found.ink_HW.sum(axis=0)
    y = float((np.arange(len(mass_H)) + 0.5) @ mass_H / mass_H.sum())
    x = float((np.arange(len(mass_W)) + 0.5) @ mass_W / mass_W.sum())
    middle = size / 2 + CENTRE_SHIFT
    if abs(scale - 1) < SAME_SCALE:
        x0, y0 = round(x - middle), round(y - middle)
        return _cut(found.ink_HW, (x0, y0, x0 + size, y0 + size))
    # Centred by mass, but never so far that an end of the digit leaves the frame.
    span = size / scale
    x_start = min(max(x - middle / scale, right - span), left)
    y_start = min(max(y - middle / scale, bottom - span), top)
    x0, y0, side = int(np.floor(x_start)) - 2, int(np.floor(y_start)) - 2, int(np.ceil(span)) + 5
    around = Image.fromarray(_cut(found.ink_HW, (x0, y0, x0 + side, y0 + side)))
    window = (x_start - x0, y_start - y0, x_start - x0 + span, y_start - y0 + span)
    fine = (size * OVERSAMPLE, size * OVERSAMPLE)
    fine_HW = np.asarray(around.resize(fine, Image.Resampling.BICUBIC, box=window))
    fine_HW = _with_usual_strokes(np.clip(fine_HW, 0, 1), unit=OVERSAMPLE * size / 28)
    return np.asarray(Image.fromarray(fine_HW).reduce(OVERSAMPLE))


def _cut(ink_HW: NDArrayF32, box: Box) -> NDArrayF32:
    """The pixels in a box that may reach over the edge, where there is paper."""
    left, top, right, bottom = box
    height, width = ink_HW.shape
    out = np.zeros((bottom - top, right - left), np.float32)
    y0, y1, x0, x1 = max(top, 0), min(bottom, height), max(left, 0), min(right, width)
    if y1 > y0 and x1 > x0:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = ink_HW[y0:y1, x0:x1]
    return out


def _with_usual_strokes(ink_HW: NDArrayF32, *, unit: float) -> NDArrayF32:
    """Thicken hair lines and thin felt pens to the usual width; `unit` is a frame pixel in ours."""
    width = _stroke_width(ink_HW)
    thinnest, thickest = (bound * unit for bound in STROKE_WIDTHS)
    # One round moves both edges of a stroke by one pixel.
    if width < thinnest:
        for _ in range(round((thinnest - width) / 2)):
            ink_HW = _neighbours(ink_HW, np.maximum)
    elif width > thickest:
        for _ in range(round((width - thickest) / 2)):
            ink_HW = _neighbours(ink_HW, np.minimum)
    return ink_HW


def _neighbours(ink_HW: NDArrayF32, extreme: np.ufunc) -> NDArrayF32:
    """The largest or smallest of each pixel and its four neighbours."""
    padded = _cut(ink_HW, (-1, -1, ink_HW.shape[1] + 1, ink_HW.shape[0] + 1))
    out = extreme(ink_HW, extreme(padded[1:-1, :-2], padded[1:-1, 2:]))
    return np.asarray(extreme(out, extreme(padded[:-2, 1:-1], padded[2:, 1:-1])), dtype=np.float32)


def _stroke_width(ink_HW: NDArrayF32) -> float:
    """Mean width of the strokes in pixels: twice the area over the outline's length.

    The outline is counted by crossings along rows and columns (Cauchy-Crofton: pi/4 of them).
    """
    mask_HW = ink_HW > 0.5
    crossings = np.count_nonzero(mask_HW[1:] != mask_HW[:-1])
    crossings += np.count_nonzero(mask_HW[:, 1:] != mask_HW[:, :-1])
    return 2 * np.count_nonzero(mask_HW) / max(1.0, crossings * np.pi / 4)
