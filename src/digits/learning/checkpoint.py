"""The last finished epoch on disk: where an interrupted training goes on."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from digits.files import replacing

Row = dict[str, float]


class LastEpoch(Checkpoint):
    """Saves each finished epoch over the one before, and only then tells of it.

    In that order, so that whatever goes wrong in the telling (a tracking server that is gone)
    costs no epoch. Lightning's ModelCheckpoint is not used: it saves by steps of automatic
    optimisation, and moves the file from the system's temporary folder, which may be on another
    disk: a crash in the middle of that copy would cost every epoch.
    """

    def __init__(self, folder: Path, *, saved: Callable[[], None]) -> None:
        self.path = folder / "last.ckpt"
        self._saved = saved

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Of several processes one writes, and all must be there.
        first = trainer.is_global_zero
        with replacing(self.path) if first else nullcontext(self.path) as path:
            trainer.save_checkpoint(path, weights_only=False)
        self._saved()

    def read_history(self) -> list[Row]:
        """The rows of the epochs that are saved; none where nothing is.

        Raises ValueError when the file is damaged.
        """
        if not self.path.exists():
            return []
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            history: list[Row] = content["history"]
        except Exception as error:  # a damaged archive shows itself in a dozen classes
            raise ValueError(f"{self.path} is damaged") from error
        return history
