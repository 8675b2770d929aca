"""What a person watching a training sees: a bar on a terminal, a line an epoch anywhere."""

import sys
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm


class Progress(pl.Callback):
    """A line an epoch with loss, validation accuracy and speed; on a terminal a bar as well.

    Lightning's own bar refreshes through several Python layers each step, which at two
    milliseconds a step shows; this one refreshes ten times a second at most.
    """

    def __init__(self, name: str, *, steps_per_epoch: int) -> None:
        self._name = name
        self._steps_per_epoch = steps_per_epoch
        self._bar: tqdm[Any] | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=self._steps_per_epoch,
                desc=f"{self._name} {self._epoch(trainer)}",
                unit="step",
                leave=False,
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        if self._bar is not None:
            self._bar.update(len(batch[1]))

    def on_train_end(self, *_: object) -> None:
        self._close_bar()

    def on_exception(self, *_: object) -> None:
        self._close_bar()

    def epoch_ended(self, trainer: pl.Trainer, metrics: dict[str, float]) -> None:
        """Print the epoch's line."""
        self._close_bar()
        print(
            f"{self._name} {self._epoch(trainer)}  loss {metrics['train_loss']:.4f}  "
            f"validation {metrics['val_accuracy']:.2%}  {metrics['epoch_s']:.1f} s  "
            f"{metrics['images_per_s']:,.0f} images/s{self._left(trainer, metrics['epoch_s'])}",
            flush=True,
        )

    def _epoch(self, trainer: pl.Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"

    def _left(self, trainer: pl.Trainer, epoch_s: float) -> str:
        """How long the rest will take, where that is worth knowing."""
        assert trainer.max_epochs is not None
        minutes = (trainer.max_epochs - trainer.current_epoch - 1) * epoch_s / 60
        return f", about {minutes:.0f} min left" if minutes >= 1 else ""

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
