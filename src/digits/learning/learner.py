"""The LightningModule: one step of training and of validation, and what an epoch reports.

B batch, K classes, H/W pixels.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from digits.learning.data import epoch_seed
from digits.learning.models import Network

Augment = Callable[[Tensor, Generator], Tensor]


class TrainingDiverged(ValueError):
    """The loss is no longer a number."""


class Learner(pl.LightningModule):
    """Trains a network with label smoothing on augmented images.

    `optimizer` makes an optimiser of parameters, `schedule` a learning-rate schedule of that
    optimiser and `total_steps`; both come from conf/ and are stepped each batch.
    """

    def __init__(
        self,
        network: Network,
        *,
        augment: Augment,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[..., Any],
        label_smoothing: float,
        seed: int,
    ) -> None:
        super().__init__()
        # Channels last is what the CPU's and the GPU's convolutions are fastest in.
        self.network = network.to(memory_format=torch.channels_last)
        self._augment = augment
        self._make_optimizer = optimizer
        self._make_schedule = schedule
        self._label_smoothing = label_smoothing
        self._seed = seed
        self._loss_sum = torch.zeros(())
        self._val_sums = torch.zeros(2)
        self._num_seen = 0
        self._num_val = 0
        self._epoch_start_s = 0.0
        self.history: list[dict[str, float]] = []

    def configure_optimizers(self) -> Any:
        optimizer = self._make_optimizer(self.parameters())
        total_steps = int(self.trainer.estimated_stepping_batches)
        scheduler = self._make_schedule(optimizer, total_steps=total_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_train_epoch_start(self) -> None:
        # Seeded anew each epoch, so that a resumed training draws what an uninterrupted one would.
        seed = epoch_seed(self._seed, self.current_epoch)
        torch.manual_seed(seed)
        self._generator = Generator(device=self.device).manual_seed(seed)
        self._loss_sum = torch.zeros((), device=self.device)
        self._num_seen = 0
        self._epoch_start_s = time.perf_counter()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        frames_BHW, labels_B = batch
        images_B1HW = self._augment(frames_BHW.unsqueeze(1).float() / 255, self._generator)
        logits_BK = self.network.logits(images_B1HW.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits_BK.float(), labels_B, label_smoothing=self._label_smoothing)
        # Summed on the device: reading the number each step would wait for it each step.
        self._loss_sum += loss.detach() * len(labels_B)
        self._num_seen += len(labels_B)
        return loss

    def on_validation_epoch_start(self) -> None:
        self._train_s = time.perf_counter() - self._epoch_start_s
        self._val_sums = torch.zeros(2, device=self.device)
        self._num_val = 0

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        frames_BHW, labels_B = batch
        logits_BK = self.network(frames_BHW).float()
        self._val_sums += torch.stack(
            (
                F.cross_entropy(logits_BK, labels_B, reduction="sum"),
                (logits_BK.argmax(1) == labels_B).sum().float(),
            )
        )
        self._num_val += len(labels_B)

    def on_train_epoch_end(self) -> None:
        """Log the epoch. Lightning saves the checkpoint after this, so never a diverged one."""
        loss = self._loss_sum.item() / self._num_seen
        val_loss, val_accuracy = (self._val_sums / self._num_val).tolist()
        if not math.isfinite(loss) or not math.isfinite(val_loss):
            # The rate asked for: where the schedule has just brought it says little.
            lr = self.optimizers().defaults["lr"]  # type: ignore[union-attr]
            raise TrainingDiverged(
                f"the loss is no longer a number after epoch {self.current_epoch + 1} (training "
                f"{loss:.3g}, validation {val_loss:.3g}); lower optimizer.lr, now {lr:g}"
            )
        row = {
            "epoch": float(self.current_epoch + 1),
            "train_loss": loss,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": self.optimizers().param_groups[0]["lr"],  # type: ignore[union-attr]
            "epoch_s": self._train_s,
            "images_per_s": self._num_seen / self._train_s,
        }
        # For Lightning's own callbacks, which know metrics by what is logged.
        self.log_dict(row)
        self.history.append(row)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]
