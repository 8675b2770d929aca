"""Images through torchvision: its dataset class reads them, its grid makes sheets of them.

Apart from the modules that train, so that preparing images does not load Lightning.

N images, H/W pixels.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.datasets import MNIST
from torchvision.utils import make_grid


def read_raw(raw: Path, *, train: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, H, W) and labels (N) of the fetched IDX files, through torchvision's reader.

    Raises ValueError when the files are missing or torchvision finds them malformed.
    """
    try:
        dataset = MNIST(str(raw), train=train, download=False)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(f"{raw} cannot be read: {error}; run `dvc repro fetch`") from None
    return dataset.data.numpy(), dataset.targets.numpy().astype(np.uint8)


def sheet(images_NHW: NDArray[np.uint8] | Tensor, *, columns: int) -> NDArray[np.uint8]:
    """Images side by side in one picture (H', W'), ink dark on white as on paper."""
    frames_N1HW = torch.as_tensor(images_NHW).reshape(-1, 1, *images_NHW.shape[-2:])
    grid_CHW = make_grid(frames_N1HW, nrow=columns, padding=2, pad_value=0)
    picture: NDArray[np.uint8] = 255 - grid_CHW[0].to(torch.uint8).cpu().numpy()
    return picture
