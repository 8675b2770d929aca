"""Augmentation of a whole batch at once on its device, a different transform for each image.

torchvision's v2 transforms apply one transform to the whole batch, so this makes one grid for all
images and samples them with one `grid_sample` instead.
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


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """Each pixel's x, y and 1 (3, P), in grid_sample's coordinates."""
    x_W = (torch.arange(width, device=device) * 2 + 1) / width - 1
    y_H = (torch.arange(height, device=device) * 2 + 1) / height - 1
    y_HW, x_HW = torch.meshgrid(y_H, x_W, indexing="ij")
    return torch.stack((x_HW, y_HW, torch.ones_like(x_HW))).reshape(3, -1)
