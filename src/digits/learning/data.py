"""Images for training: kept as one uint8 tensor on the device, and cut into batches there.

B batch, N images, H/W pixels.
"""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

ARRAYS = ("train_images", "train_labels", "val_images", "val_labels")


class Batches:
    """Batches cut from tensors that already are on the device, in a new order each epoch.

    A DataLoader would collate image by image in worker processes; at this size that costs more
    than the training step itself.
    """

    def __init__(
        self,
        frames_NHW: Tensor,
        labels_N: Tensor,
        *,
        batch_size: int,
        order: Callable[[int], Tensor] | None = None,
    ) -> None:
        self._frames_NHW = frames_NHW
        self._labels_N = labels_N
        self._batch_size = batch_size
        self._order = order

    def __len__(self) -> int:
        num = len(self._labels_N)
        # Training drops the short last batch: its batch statistics would be noisier.
        return num // self._batch_size if self._order else -(-num // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order_N = self._order(len(self._labels_N)) if self._order else None
        for start in range(0, len(self) * self._batch_size, self._batch_size):
            chosen: Any = slice(start, start + self._batch_size)
            if order_N is not None:
                chosen = order_N[chosen]
            yield self._frames_NHW[chosen], self._labels_N[chosen]


class DigitsDataModule(pl.LightningDataModule):
    """The prepared training split: shuffled batches to train on, and the validation images.

    The epoch's order depends on the seed and the epoch's number alone, so that a resumed training
    sees what an uninterrupted one would have seen.
    """

    def __init__(self, prepared: Path, *, batch_size: int, seed: int) -> None:
        super().__init__()
        self._file = prepared / "train.npz"
        self._batch_size = batch_size
        self._seed = seed
        self.arrays: dict[str, NDArray[np.uint8]] = {}
        self._tensors: dict[str, Tensor] = {}

    def setup(self, stage: str) -> None:
        if not self.arrays:
            self.arrays = _read_arrays(self._file)
            if not 1 <= self._batch_size <= len(self.arrays["train_labels"]):
                raise ValueError(
                    f"training.batch_size must be in 1..{len(self.arrays['train_labels'])} "
                    f"(the training images), got {self._batch_size!r}"
                )
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        self._tensors = {
            name: torch.from_numpy(array if array.ndim > 1 else array.astype(np.int64)).to(device)
            for name, array in self.arrays.items()
        }

    def train_dataloader(self) -> Batches:
        return Batches(
            self._tensors["train_images"],
            self._tensors["train_labels"],
            batch_size=self._batch_size,
            order=self._epoch_order,
        )

    def val_dataloader(self) -> Batches:
        return Batches(self._tensors["val_images"], self._tensors["val_labels"], batch_size=1000)

    def _epoch_order(self, num: int) -> Tensor:
        epoch = self.trainer.current_epoch if self.trainer else 0
        generator = torch.Generator().manual_seed(epoch_seed(self._seed, epoch))
        return torch.randperm(num, generator=generator).to(self._tensors["train_labels"].device)


def _read_arrays(path: Path) -> dict[str, NDArray[np.uint8]]:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in ARRAYS}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; run `dvc repro prepare`") from None
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}; run `dvc repro -f prepare`") from None


def epoch_seed(seed: int, epoch: int) -> int:
    """One number for a seed and an epoch, far from those of neighbouring seeds and epochs."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)
