"""Images for training: kept as one uint8 tensor on the device, and cut into batches there.

S steps, B batch, N images, H/W pixels.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from digits.arrays import read_arrays
from digits.learning.extras import Extra

# Lightning's own work around each call of `training_step` takes as long as a small network's step.
STEPS_AT_ONCE = 16
VALIDATED_AT_ONCE = 1000
ARRAYS = ("train_images", "train_labels", "val_images", "val_labels")


class Batches:
    """Batches cut from tensors that already are on the device.

    A DataLoader would collate image by image in worker processes; at this size that costs more
    than the training step itself. `indices` is asked anew each epoch for what cuts each batch.
    """

    def __init__(
        self,
        frames_NHW: Tensor,
        labels_N: Tensor,
        *,
        num_batches: int,
        indices: Callable[[], Iterable[Tensor | slice]],
    ) -> None:
        self._frames_NHW = frames_NHW
        self._labels_N = labels_N
        self._num_batches = num_batches
        self._indices = indices

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in self._indices():
            yield self._frames_NHW[chosen], self._labels_N[chosen]


class DigitsDataModule(pl.LightningDataModule):
    """The prepared training split: shuffled batches to train on, and the validation images.

    Each batch has `batch_size` training images, all of them where there are fewer, each once an
    epoch, and after those what its share of each of the `extras` is, drawn at random.

    With a `fold`, training and validation images are pooled and that fold of `num_folds` is
    validated on. The folds are the same whatever the seed is, so that runs can be compared.
    The epoch's order depends on the seed and the epoch's number alone, so that a resumed training
    sees what an uninterrupted one would have seen.
    """

    def __init__(
        self,
        prepared: Path,
        *,
        batch_size: int,
        seed: int,
        extras: Sequence[Extra] = (),
        fold: int | None = None,
        num_folds: int = 0,
    ) -> None:
        super().__init__()
        self._extras = extras
        self._file = prepared / "train.npz"
        self._batch_size = batch_size
        self._seed = seed
        self._fold, self._num_folds = fold, num_folds
        self.arrays: dict[str, NDArray[np.uint8]] = {}
        self._tensors: dict[str, Tensor] = {}

    def setup(self, stage: str) -> None:
        if not self.arrays:
            self.arrays = dict(
                zip(ARRAYS, read_arrays(self._file, ARRAYS, stage="prepare"), strict=True)
            )
            if self._fold is not None:
                self.arrays = _take_fold(self.arrays, self._fold, self._num_folds)
            self._batch_size = min(self._batch_size, len(self.arrays["train_labels"]))
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        everything = {
            **self.arrays,
            "train_images": np.concatenate(
                [self.arrays["train_images"], *(extra.images for extra in self._extras)]
            ),
            "train_labels": np.concatenate(
                [self.arrays["train_labels"], *(extra.labels for extra in self._extras)]
            ),
        }
        self._tensors = {
            name: torch.from_numpy(array if array.ndim > 1 else array.astype(np.int64)).to(device)
            for name, array in everything.items()
        }

    @property
    def steps_per_epoch(self) -> int:
        # The short last batch is dropped: its batch statistics would be noisier.
        return len(self.arrays["train_labels"]) // self._batch_size

    def train_dataloader(self) -> Batches:
        """Frames (S, B, H, W) and labels (S, B): `STEPS_AT_ONCE` steps, fewer at an epoch's end."""
        return Batches(
            self._tensors["train_images"],
            self._tensors["train_labels"],
            num_batches=math.ceil(self.steps_per_epoch / STEPS_AT_ONCE),
            indices=self._training_order,
        )

    def val_dataloader(self) -> Batches:
        """Frames (B, H, W) and labels (B)."""
        num = len(self._tensors["val_labels"])
        starts = range(0, num, VALIDATED_AT_ONCE)
        return Batches(
            self._tensors["val_images"],
            self._tensors["val_labels"],
            num_batches=len(starts),
            indices=lambda: (slice(start, start + VALIDATED_AT_ONCE) for start in starts),
        )

    def _training_order(self) -> Iterator[Tensor]:
        epoch = self.trainer.current_epoch if self.trainer else 0
        num_epochs = (self.trainer.max_epochs if self.trainer else None) or 1
        generator = torch.Generator().manual_seed(epoch_seed(self._seed, epoch))
        steps, num = self.steps_per_epoch, len(self.arrays["train_labels"])
        order_N = torch.randperm(num, generator=generator)
        chosen = [order_N[: steps * self._batch_size].view(steps, self._batch_size)]
        for extra in self._extras:
            wanted = (steps, extra.num(self._batch_size, progress=epoch / num_epochs))
            chosen.append(num + torch.randint(len(extra.labels), wanted, generator=generator))
            num += len(extra.labels)
        order_SB = torch.cat(chosen, dim=1).to(self._tensors["train_labels"].device)
        for start in range(0, steps, STEPS_AT_ONCE):
            yield order_SB[start : start + STEPS_AT_ONCE]


def _take_fold(
    arrays: dict[str, NDArray[np.uint8]], fold: int, num_folds: int
) -> dict[str, NDArray[np.uint8]]:
    """Training and validation images of one fold, stratified by class."""
    from sklearn.model_selection import StratifiedKFold

    images_NHW = np.concatenate((arrays["train_images"], arrays["val_images"]))
    labels_N = np.concatenate((arrays["train_labels"], arrays["val_labels"]))
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=0).split(labels_N, labels_N)
    train, val = list(folds)[fold]
    return dict(
        zip(
            ARRAYS,
            (images_NHW[train], labels_N[train], images_NHW[val], labels_N[val]),
            strict=True,
        )
    )


def epoch_seed(seed: int, epoch: int) -> int:
    """One number for a seed and an epoch, far from those of neighbouring seeds and epochs."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)
