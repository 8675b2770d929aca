"""Augmentation: what it does to a batch, and that the generator decides all of it.

B batch, H/W pixels.
"""

from typing import Any

import pytest
import torch

from digits.learning.augment import Affine, Chain, NoAugment, Patches, Shade


def drawn_from(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


AFFINE = Affine(rotate_deg=12, scale=0.1, shear=0.12, shift_px=2)


def test_an_affine_change_keeps_shape_and_range() -> None:
    images_B1HW = torch.rand(16, 1, 28, 28, generator=drawn_from(0))
    changed = AFFINE(images_B1HW, drawn_from(1), 0.0)
    assert changed.shape == images_B1HW.shape
    assert changed.dtype == images_B1HW.dtype
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1


def test_an_affine_change_of_nothing_is_the_identity() -> None:
    images_B1HW = torch.rand(4, 1, 28, 28, generator=drawn_from(0))
    still = Affine(rotate_deg=0, scale=0, shear=0, shift_px=0)
    torch.testing.assert_close(
        still(images_B1HW, drawn_from(1), 0.0), images_B1HW, atol=1e-5, rtol=0
    )
    assert NoAugment()(images_B1HW, drawn_from(1), 0.0) is images_B1HW


def test_each_image_of_a_batch_is_changed_differently_as_the_generator_says() -> None:
    same_B1HW = torch.rand(1, 1, 28, 28, generator=drawn_from(0)).expand(8, 1, 28, 28)
    changed = AFFINE(same_B1HW, drawn_from(1), 0.0)
    assert len({image.numpy().tobytes() for image in changed}) == 8
    assert torch.equal(changed, AFFINE(same_B1HW, drawn_from(1), 0.0))
    assert not torch.equal(changed, AFFINE(same_B1HW, drawn_from(2), 0.0))


def test_a_shift_moves_ink_by_at_most_the_pixels_it_names() -> None:
    dot_B1HW = torch.zeros(200, 1, 29, 29)
    dot_B1HW[:, :, 14, 14] = 1
    moved = Affine(rotate_deg=0, scale=0, shear=0, shift_px=3)(dot_B1HW, drawn_from(0), 0.0)[:, 0]
    places = torch.arange(29.0)
    across = (moved.sum(1) @ places) / moved.sum((1, 2)) - 14
    assert 2.5 < float(across.abs().max()) <= 3.001


def test_a_shade_grows_from_one_side_and_leaves_ink_as_it_is() -> None:
    paper_B1HW = torch.zeros(200, 1, 28, 28)
    shaded = Shade(chance=1, darkest=0.6, until=1)(paper_B1HW, drawn_from(0), 0.0)
    assert float(shaded.min()) >= 0
    assert 0.55 < float(shaded.max()) <= 0.6
    # A plane: as much more from a pixel to the next wherever that is.
    for axis in (2, 3):
        slope = shaded.diff(dim=axis)
        torch.testing.assert_close(slope, slope[:, :, :1, :1].expand(slope.shape))
    ink_B1HW = torch.ones(4, 1, 28, 28)
    assert torch.equal(Shade(chance=1, darkest=1, until=1)(ink_B1HW, drawn_from(0), 0.0), ink_B1HW)


def test_shades_are_there_as_often_as_asked_for_and_not_in_the_end() -> None:
    paper_B1HW = torch.zeros(1000, 1, 28, 28)
    some = Shade(chance=0.2, darkest=1, until=0.5)
    shaded = some(paper_B1HW, drawn_from(1), 0.0).any(3).any(2)
    assert float(shaded.float().mean()) == pytest.approx(0.2, abs=0.05)
    assert torch.equal(some(paper_B1HW, drawn_from(1), 0.5), paper_B1HW)
    with pytest.raises(ValueError, match=r"augment.darkest must be in \[0, 1\], got 2"):
        Shade(chance=1, darkest=2, until=1)


def patches(**changed: Any) -> Patches:
    settings = {
        "num": 1,
        "chance": 1.0,
        "area": (0.1, 0.1),
        "stretch": 1.0,
        "invert": 0.0,
        "until": 1.0,
    }
    return Patches(**(settings | changed))


def test_a_patch_covers_the_area_it_names_and_leaves_the_rest() -> None:
    images_B1HW = torch.rand(500, 1, 40, 40, generator=drawn_from(0))
    changed = patches()(images_B1HW, drawn_from(1), 0.0) != images_B1HW
    shares = changed.float().mean((1, 2, 3))
    assert float(shares.max()) == pytest.approx(0.1, abs=0.02)  # less where the edge cuts it
    rows, columns = changed[:, 0].any(2).sum(1), changed[:, 0].any(1).sum(1)
    torch.testing.assert_close(shares * 1600, (rows * columns).float())


def test_a_patch_is_one_grey_or_the_image_turned_over() -> None:
    images_B1HW = torch.rand(50, 1, 28, 28, generator=drawn_from(0))
    for invert in (0.0, 1.0):
        changed = patches(invert=invert)(images_B1HW, drawn_from(1), 0.0)
        for before, after in zip(images_B1HW, changed, strict=True):
            inside = after != before
            expected = 1 - before[inside] if invert else after[inside][:1].expand(inside.sum())
            torch.testing.assert_close(after[inside], expected)


def test_patches_are_there_as_often_as_they_are_asked_for() -> None:
    images_B1HW = torch.rand(1000, 1, 28, 28, generator=drawn_from(0))
    touched = (patches(num=2, chance=0.3)(images_B1HW, drawn_from(1), 0.0) != images_B1HW).any(
        (1, 2, 3)
    )
    assert float(touched.float().mean()) == pytest.approx(1 - 0.7**2, abs=0.06)
    assert torch.equal(patches(chance=0.0)(images_B1HW, drawn_from(1), 0.0), images_B1HW)


def test_towards_the_end_of_a_training_there_are_no_patches() -> None:
    images_B1HW = torch.rand(4, 1, 28, 28, generator=drawn_from(0))
    fading = patches(until=0.7)
    assert not torch.equal(fading(images_B1HW, drawn_from(1), 0.69), images_B1HW)
    assert torch.equal(fading(images_B1HW, drawn_from(1), 0.7), images_B1HW)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"area": (0.3, 0.1)}, r"augment.area must be two shares"), ({"stretch": 0.5}, "at least 1")],
)
def test_patches_that_cannot_be_drawn_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        patches(**changed)


def test_a_chain_takes_its_steps_in_order() -> None:
    images_B1HW = torch.rand(4, 1, 28, 28, generator=drawn_from(0))
    chain = Chain(double=lambda images, *_: images * 2, less=lambda images, *_: images - 1)
    torch.testing.assert_close(chain(images_B1HW, drawn_from(1), 0.0), images_B1HW * 2 - 1)


def test_a_scale_that_could_turn_images_inside_out_is_refused() -> None:
    with pytest.raises(ValueError, match=r"augment.scale must be in \[0, 1\), got 1.5"):
        Affine(rotate_deg=0, scale=1.5, shear=0, shift_px=0)
