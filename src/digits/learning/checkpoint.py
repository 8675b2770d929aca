"""The last finished epoch on disk: where an interrupted training goes on."""

from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from digits.files import replacing

Row = dict[str, float]


class LastEpoch(ModelCheckpoint):
    """Saves each finished epoch over the one before, and only then tells of it.

    In that order, so that whatever goes wrong in the telling (a tracking server that is gone)
    costs no epoch.
    """

    def __init__(self, folder: Path, *, saved: Callable[[], None]) -> None:
        super().__init__(
            folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
        )
        self.path = folder / "last.ckpt"
        self._saved = saved

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        # Lightning's own way goes through the system's temporary folder, which may be on another
        # disk: its last step is then a copy, and a crash in the middle of it costs every epoch.
        with replacing(Path(filepath)) as beside:
            super()._save_checkpoint(trainer, str(beside))
        self._last_checkpoint_saved = filepath

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
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
