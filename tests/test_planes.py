"""Images of 16 and 32 bits are brought to grey levels in little memory, as if all at once."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from digits.reading import planes
from digits.reading.planes import plane


def noise(mode: str, width: int, height: int) -> Image.Image:
    levels_HW = np.random.default_rng(0).integers(0, 65536, (height, width))
    if mode == "I;16":
        return Image.fromarray(levels_HW.astype(np.uint16))
    if mode == "I":
        return Image.fromarray((levels_HW * 20_000).astype(np.int32))
    floats_HW = levels_HW.astype(np.float32) - (30_000 if mode == "F below zero" else 0)
    floats_HW[0, 0], floats_HW[-1, -1] = np.nan, np.inf
    return Image.fromarray(floats_HW)


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "F below zero"])
@pytest.mark.parametrize("size", [(1003, 701), (701, 1003), (90, 120), (3000, 2), (1, 700)])
def test_strip_by_strip_the_grey_levels_are_those_of_the_whole(
    mode: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise(mode, *size)
    monkeypatch.setattr(planes, "STRIP_PIXELS", size[0] * size[1] * 4)
    whole_HW = plane(image)
    monkeypatch.setattr(planes, "STRIP_PIXELS", 1)
    in_strips_HW = plane(image)
    assert in_strips_HW.shape == planes.reduced(Image.new("F", size), planes.WORK_SIDE).size[::-1]
    assert np.array_equal(whole_HW, in_strips_HW)
    assert 0 <= whole_HW.min() < whole_HW.max() <= 255


@pytest.mark.parametrize("mode", ["I;16", "I", "F below zero"])
def test_a_large_image_of_many_bits_takes_little_memory(mode: str) -> None:
    image = noise(mode, 4000, 3000)
    tracemalloc.start()
    plane(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * 2**20  # bytes; as float64 it has 96 million


def test_a_large_image_of_one_level_is_even() -> None:
    assert not plane(Image.new("I", (2000, 1000), -7)).any()
