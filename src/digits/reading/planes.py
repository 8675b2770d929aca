"""Bring an image of any mode to one plane of grey levels in which ink and paper differ.

Shapes: H/W pixels, C colour channels, N pixels picked out of an image.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NDArrayF32 = NDArray[np.float32]

WORK_SIDE = 320  # px; larger images are reduced to 1-2 times this: 20 px of digit need no more
STRIP_PIXELS = 2**19  # of 16 or 32 bits that are brought to eight at once
ONE_COLOUR = 16  # standard deviation of a channel up to which strokes are of one colour


def plane(image: Image.Image, *, side: int = WORK_SIDE) -> NDArrayF32:
    """Grey levels in 0..255, ink darker or lighter than paper: (H, W), reduced to 1-2 times `side`.

    Sixteen bits are brought to eight, transparency becomes paper, colours are weighed so that
    yellow on white and red on green are seen. The image must have pixels.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep(image, side)
    if image.mode == "LAB":  # Pillow converts LAB to no other mode; channel 0 is lightness
        image = image.getchannel(0)
    if image.has_transparency_data:
        rgba = reduced(image.convert("RGBA"), side)
        if rgba.getchannel("A").getextrema() != (255, 255):
            return _transparent(rgba)
        return _colour(rgba.convert("RGB"))
    if image.mode in ("1", "L"):
        return np.asarray(reduced(image.convert("L"), side), dtype=np.float32)
    return _colour(reduced(image.convert("RGB"), side))


def border(pixels: NDArrayF32) -> NDArrayF32:
    """The outermost pixels: (H, W, ...) to (N, ...)."""
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])


def median(values: NDArrayF32) -> float:
    """As np.median, in a third of its time on a few hundred numbers."""
    return quantile(values, 0.5)


def quantile(values: NDArrayF32, share: float) -> float:
    """As np.quantile, linear between two neighbours, in a third of its time."""
    place = share * (values.size - 1)
    low = int(place)
    high = min(low + 1, values.size - 1)
    parted = np.partition(values, (low, high), axis=None)
    return float(parted[low]) + (place - low) * (float(parted[high]) - float(parted[low]))


def reduced(image: Image.Image, side: int) -> Image.Image:
    """A whole fraction of the image's size, its longest side in 1..2 times `side`, or smaller."""
    return _by(image, _factor(image, side))


def _factor(image: Image.Image, side: int) -> int:
    return max(1, max(image.size) // side)


def _by(image: Image.Image, factor: int) -> Image.Image:
    return image.reduce(factor) if factor > 1 else image


def _deep(image: Image.Image, side: int) -> NDArrayF32:
    """16-bit, 32-bit and float pixels, by the range they must be meant in."""
    factor = _factor(image, side)
    ends = [(float(strip.min()), float(strip.max())) for strip in _strips(image, factor)]
    lowest, highest = min(low for low, _ in ends), max(high for _, high in ends)
    # Cameras and scanners of 8, 10 and 12 bits write those of 16, too.
    tops = [255.0, 1023.0, 4095.0, 65535.0]
    if not image.mode.startswith("I;16"):
        tops = [1.0, *tops]
    fitting = [top for top in tops if lowest >= 0 and highest <= top]
    if fitting:
        lowest, highest = 0.0, fitting[0]
    elif lowest == highest:
        return np.asarray(_by(Image.new("F", image.size), factor))
    small = []
    for strip in _strips(image, factor):
        # Halved first: the distance of the two ends of float64 is no float64.
        levels = (strip / 2 - lowest / 2) / (highest / 2 - lowest / 2) * 255
        small.append(np.asarray(_by(Image.fromarray(levels.astype(np.float32)), factor)))
    return np.concatenate(small, axis=_long_axis(image))


def _strips(image: Image.Image, factor: int) -> Iterator[NDArray[np.float64]]:
    """An image's numbers, so many at a time that those of a large one fit in little memory.

    Across its long side, where each but the last can be reduced by the factor by itself.
    """
    axis = _long_axis(image)
    long, short = max(image.size), min(image.size)
    step = factor * max(1, STRIP_PIXELS // (factor * short))
    for start in range(0, long, step):
        end = min(start + step, long)
        strip = image.crop((start, 0, end, short) if axis else (0, start, short, end))
        yield np.nan_to_num(np.asarray(strip, dtype=np.float64), posinf=0.0, neginf=0.0)


def _long_axis(image: Image.Image) -> int:
    """Of an array of the image's pixels."""
    return 1 if image.width > image.height else 0


def _colour(rgb: Image.Image) -> NDArrayF32:
    """Weigh the channels by how far ink and paper differ in each."""
    step = max(1, min(rgb.size) // 64)
    sample_HWC = np.asarray(rgb)[::step, ::step].astype(np.float32)
    away_HWC = sample_HWC - np.median(border(sample_HWC), axis=0)
    distance_HW = np.abs(away_HWC).sum(axis=2)
    ink_C = away_HWC[distance_HW >= 0.5 * distance_HW.max()].mean(axis=0)
    total = float(np.abs(ink_C).sum())
    if total == 0:
        return np.asarray(rgb.convert("L"), dtype=np.float32)
    # Which of the two is darker is for others to say; light paper should stay light.
    weights_C = ink_C / total * (1 if ink_C.sum() >= 0 else -1)
    # Moved up so that the weighted sum, whose weights may be negative, stays in 0..255.
    offset = -255 * float(np.minimum(weights_C, 0).sum())
    matrix = (*(float(weight) for weight in weights_C), offset)
    return np.asarray(rgb.convert("L", matrix), dtype=np.float32)


def _transparent(rgba: Image.Image) -> NDArrayF32:
    """Strokes of one colour on a clear canvas: the alpha is the ink. Else laid on paper."""
    step = max(1, min(rgba.size) // 96)
    sample_HWC = np.asarray(rgba)[::step, ::step]
    rows, columns = np.nonzero(sample_HWC[..., 3] >= 128)
    solid_NC = sample_HWC[rows, columns, :3].astype(np.float32)
    if not len(solid_NC) or float(solid_NC.std(axis=0).max()) < ONE_COLOUR:
        return np.asarray(rgba.getchannel("A"), dtype=np.float32)
    box_area = (int(np.ptp(rows)) + 1) * (int(np.ptp(columns)) + 1)
    if len(solid_NC) > 0.6 * box_area:  # a sheet with clear margins: go on with its own paper
        paper = tuple(int(level) for level in np.median(solid_NC, axis=0))
    else:
        paper = (255, 255, 255) if solid_NC.mean() < 128 else (0, 0, 0)
    sheet = Image.new("RGBA", rgba.size, (*paper, 255))
    return _colour(Image.alpha_composite(sheet, rgba).convert("RGB"))
