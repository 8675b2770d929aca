"""Augmentation of a whole batch at once on its device, a different transform for each image.

torchvision's v2 transforms apply one transform to the whole batch, so this uses one
`affine_grid` and one `grid_sample` instead.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


class NoAugment:
    """Images as they are."""

    def __call__(self, images_B1HW: Tensor, generator: Generator) -> Tensor:
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

    def __call__(self, images_B1HW: Tensor, generator: Generator) -> Tensor:
        """float (B, 1, H, W) → the same shape; all randomness comes from the generator."""
        num, _, _, width = images_B1HW.shape
        # One draw for the batch: rotation, scale, stretch, shear, shift x, shift y, in [-1, 1].
        uniform = torch.rand(6, num, generator=generator, device=images_B1HW.device) * 2 - 1
        angle = uniform[0] * self._rotate
        scale_x = 1 + uniform[1] * self._scale
        scale_y = scale_x * (1 + uniform[2] * self._scale / 2)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # affine_grid's coordinates run from -1 to 1 over the width.
        shift = uniform[4:] * (2 * self._shift_px / width)
        theta = torch.stack(
            (
                torch.stack((cos / scale_x, uniform[3] * self._shear - sin / scale_x, shift[0])),
                torch.stack((sin / scale_y, cos / scale_y, shift[1])),
            )
        ).permute(2, 0, 1)
        # In bfloat16, which a training under autocast would use here, places are a twentieth of a
        # pixel off.
        with torch.autocast(images_B1HW.device.type, enabled=False):
            grid = F.affine_grid(theta, list(images_B1HW.shape), align_corners=False)
            return F.grid_sample(images_B1HW, grid, align_corners=False)
