"""Augmentation of a whole batch at once on its device, a different transform for each image.

torchvision's v2 transforms apply one transform to the whole batch, so this makes one grid for all
images and samples them with one `grid_sample` instead.

An augmentation is called with a batch, a generator of all its randomness, and `progress`, the share
of the training that is over, in [0, 1).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Augment = Callable[[Tensor, Generator, float], Tensor]


class NoAugment:
    """Images as they are."""

    def __call__(self, images_B1HW: Tensor, generator: Generator, progress: float) -> Tensor:
        return images_B1HW


class Chain:
    """Augmentations one after the other, each under a name of its own."""

    def __init__(self, **steps: Augment) -> None:
        for name, step in steps.items():
            if not callable(step):
                raise ValueError(f"augment.{name} must be an augmentation, got {step!r}")
        self._steps = tuple(steps.values())

    def __call__(self, images_B1HW: Tensor, generator: Generator, progress: float) -> Tensor:
        for step in self._steps:
            images_B1HW = step(images_B1HW, generator, progress)
        return images_B1HW


class Affine:
    """Random rotation, scale, shear and shift, each drawn uniformly for each image.

    Args:
        rotate_deg: largest rotation either way, degrees.
        scale: largest relative change of size; the two axes differ by up to half of it.
        shear: largest horizontal shear, pixels a pixel.
        shift_px: largest shift along each axis, pixels.
    """

    def __init__(self, *, rotate_deg: float, scale: float, shear: float, shift_px: float) -> None:
        if not 0 <= scale < 1:
            raise ValueError(f"augment.scale must be in [0, 1), got {scale!r}")
        self._rotate = math.radians(rotate_deg)
        self._scale = scale
        self._shear = shear
        self._shift_px = shift_px

    def __call__(self, images_B1HW: Tensor, generator: Generator, progress: float) -> Tensor:
        """float (B, 1, H, W) → the same shape."""
        num, _, height, width = images_B1HW.shape
        # One draw for the batch: rotation, scale, stretch, shear, shift x, shift y, in [-1, 1].
        uniform = torch.rand(6, num, generator=generator, device=images_B1HW.device) * 2 - 1
        angle = uniform[0] * self._rotate
        scale_x = 1 + uniform[1] * self._scale
        scale_y = scale_x * (1 + uniform[2] * self._scale / 2)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # grid_sample's coordinates run from -1 to 1 over the width.
        shift = uniform[4:] * (2 * self._shift_px / width)
        from_x = torch.stack((cos / scale_x, uniform[3] * self._shear - sin / scale_x, shift[0]))
        from_y = torch.stack((sin / scale_y, cos / scale_y, shift[1]))
        theta_2BX = torch.stack((from_x, from_y)).transpose(1, 2)
        # One matrix product: `affine_grid` does the same as a batch of tiny ones, which on a CPU
        # takes as long as the whole step of a small network. Not in bfloat16, which a training
        # under autocast would use: its places are a twentieth of a pixel off.
        with torch.autocast(images_B1HW.device.type, enabled=False):
            grid_2BP = theta_2BX @ _places(height, width, images_B1HW.device)
            grid_BHW2 = grid_2BP.permute(1, 2, 0).reshape(num, height, width, 2)
            return F.grid_sample(images_B1HW, grid_BHW2, align_corners=False)


class Shade:
    """A grey over the paper that grows from one side to the other, as under a lamp at one side.

    Args:
        chance: of an image, that it is shaded.
        darkest: the largest grey at the far side, 1 is ink.
        until: share of the training after which there is none, as of `Patches`.
    """

    def __init__(self, *, chance: float, darkest: float, until: float) -> None:
        if not 0 <= darkest <= 1:
            raise ValueError(f"augment.darkest must be in [0, 1], got {darkest!r}")
        self._chance = chance
        self._darkest = darkest
        self._until = until

    def __call__(self, images_B1HW: Tensor, generator: Generator, progress: float) -> Tensor:
        """float (B, 1, H, W) in [0, 1] → the same."""
        if progress >= self._until:
            return images_B1HW
        num, _, height, width = images_B1HW.shape
        device = images_B1HW.device
        # One draw: the side it comes from, is it there, how dark.
        uniform = torch.rand(3, num, 1, generator=generator, device=device)
        angle_B1 = uniform[0] * 2 * math.pi
        grey_B1 = torch.where(uniform[1] < self._chance, uniform[2] * self._darkest, 0)
        direction_B3 = torch.cat(
            (torch.cos(angle_B1), torch.sin(angle_B1), torch.full_like(angle_B1, math.sqrt(2))), 1
        )
        # From 0 to 1 over the diagonal, which is the longest way across.
        rise_BP = direction_B3 @ _places(height, width, device) / (2 * math.sqrt(2))
        shade_B1HW = (grey_B1 * rise_BP).view(num, 1, height, width)
        return images_B1HW + (1 - images_B1HW) * shade_B1HW


class Patches:
    """Random rectangles, each hidden under one grey or turned from ink to paper and back.

    After Z. Zhong and others 2017 (arXiv 1708.04896), who only hide: a network that has seen
    inverted ink tells strokes by their edges.

    Args:
        num: rectangles drawn on an image at most.
        chance: of each of them, that it is there.
        area: the smallest and largest area, as a share of the image.
        stretch: the largest ratio of the sides, either way.
        invert: share of the rectangles that are turned over instead of hidden.
        until: share of the training after which there are none: what is learnt of broken images
            stays, and the last epochs are for whole ones.
    """

    def __init__(
        self,
        *,
        num: int,
        chance: float,
        area: tuple[float, float],
        stretch: float,
        invert: float,
        until: float,
    ) -> None:
        if not 0 < area[0] <= area[1] <= 1:
            raise ValueError(f"augment.area must be two shares in (0, 1], rising; got {area!r}")
        if stretch < 1:
            raise ValueError(f"augment.stretch must be at least 1, got {stretch!r}")
        self._num = num
        self._chance = chance
        self._area = area
        self._stretch = math.log(stretch)
        self._invert = invert
        self._until = until

    def __call__(self, images_B1HW: Tensor, generator: Generator, progress: float) -> Tensor:
        """float (B, 1, H, W) in [0, 1] → the same."""
        if progress >= self._until:
            return images_B1HW
        for _ in range(self._num):
            images_B1HW = self._draw(images_B1HW, generator)
        return images_B1HW

    def _draw(self, images_B1HW: Tensor, generator: Generator) -> Tensor:
        num, _, height, width = images_B1HW.shape
        device = images_B1HW.device
        # One draw: area, ratio of the sides, place x, place y, is it there, inverted?, grey.
        uniform = torch.rand(7, num, 1, generator=generator, device=device)
        smallest, largest = self._area
        area = smallest + uniform[0] * (largest - smallest)
        ratio = torch.exp((uniform[1] * 2 - 1) * self._stretch)
        inside_BH = _within(height, uniform[2], torch.sqrt(area * ratio))
        inside_BW = _within(width, uniform[3], torch.sqrt(area / ratio))
        there_BH = inside_BH & (uniform[4] < self._chance)
        patch_B1HW = (there_BH.unsqueeze(2) & inside_BW.unsqueeze(1)).unsqueeze(1)
        inverted_B111, grey_B111 = uniform[5:].view(2, num, 1, 1, 1)
        inside_B1HW = torch.where(inverted_B111 < self._invert, 1 - images_B1HW, grey_B111)
        return torch.where(patch_B1HW, inside_B1HW, images_B1HW)


def _within(num_pixels: int, centre_B1: Tensor, share_B1: Tensor) -> Tensor:
    """Which pixels of a side an interval covers, its centre and length in sides: (B, P)."""
    places_P = (torch.arange(num_pixels, device=centre_B1.device) + 0.5) / num_pixels
    return (places_P - centre_B1).abs() < share_B1 / 2


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """Each pixel's x, y and 1 (3, P), in grid_sample's coordinates."""
    x_W = (torch.arange(width, device=device) * 2 + 1) / width - 1
    y_H = (torch.arange(height, device=device) * 2 + 1) / height - 1
    y_HW, x_HW = torch.meshgrid(y_H, x_W, indexing="ij")
    return torch.stack((x_HW, y_HW, torch.ones_like(x_HW))).reshape(3, -1)
