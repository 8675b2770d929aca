"""The LightningModule: one step of training and of validation, and what an epoch reports.

S steps, B batch, K classes (one more where the network knows what is none of them), H/W pixels.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from digits.learning.augment import Augment
from digits.learning.data import epoch_seed
from digits.learning.device import compiled
from digits.learning.models import Network


class TrainingDiverged(ValueError):
    """The loss is no longer a number."""


class Learner(pl.LightningModule):
    """Trains a network on augmented images, by their labels or by what a teacher says of them.

    `optimizer` makes an optimiser of parameters, `schedule` a learning-rate schedule of that
    optimiser and `total_steps`, stepped each batch, or each epoch if it looks at the validation
    loss; both come from conf/. `compiled_by` is a backend of torch.compile for the steps.
    """

    def __init__(
        self,
        network: Network,
        *,
        augment: Augment,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[..., Any],
        label_smoothing: float,
        num_classes: int,
        total_steps: int,
        keep_best: bool,
        seed: int,
        teacher: Network | None = None,
        compiled_by: str | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # `training_step` takes several steps
        # Channels last is what the CPU's and the GPU's convolutions are fastest in.
        self.network = network.to(memory_format=torch.channels_last)
        self._logits = compiled(network.logits, backend=compiled_by)
        self._augment = augment
        self._make_optimizer = optimizer
        self._make_schedule = schedule
        self._label_smoothing = label_smoothing
        self._num_classes = num_classes
        self._total_steps = total_steps
        self._keep_best = keep_best
        self._best: dict[str, Tensor] = {}
        self._seed = seed
        # Not as a part of this module: nobody trains it, and no checkpoint holds it.
        self._teacher = (teacher,)
        self._rows: slice | None = None
        self._loss_sum = torch.zeros(())
        self._val_sums = torch.zeros(2)
        self._step = 0  # of the whole training
        self._num_steps = 0  # of the epoch
        self._num_images = 0
        self._num_val = 0
        self._epoch_start_s = 0.0
        self.history: list[dict[str, float]] = []

    def configure_optimizers(self) -> Any:
        optimizer = self._make_optimizer(self.parameters())
        schedule = self._make_schedule(optimizer, total_steps=self._total_steps)
        self._by_epoch = isinstance(schedule, ReduceLROnPlateau)
        return [optimizer], [schedule]

    def forward(self, frames_BHW: Tensor) -> Tensor:
        """The network's answer: uint8 frames (B, H, W) → logits (B, K)."""
        logits_BK: Tensor = self.network(frames_BHW)
        return logits_BK

    def on_fit_start(self) -> None:
        (teacher,) = self._teacher
        if teacher is not None:
            teacher.to(self.device).to(memory_format=torch.channels_last).eval()
        # Of several processes each takes its rows of the very same batch.
        num = self.trainer.world_size
        self._rows = slice(self.global_rank, None, num) if num > 1 else None

    def on_train_epoch_start(self) -> None:
        # Seeded anew each epoch, so that a resumed training draws what an uninterrupted one would.
        seed = epoch_seed(self._seed, self.current_epoch)
        torch.manual_seed(seed)
        self._generator = Generator(device=self.device).manual_seed(seed)
        self._loss_sum = torch.zeros((), device=self.device)
        self._step = self._total_steps * self.current_epoch // (self.trainer.max_epochs or 1)
        self._num_steps = self._num_images = 0
        self._epoch_start_s = time.perf_counter()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Several steps of training: frames (S, B, H, W) and labels (S, B)."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        schedule: Any = self.lr_schedulers()
        for frames_BHW, labels_B in zip(*batch, strict=True):
            loss = self._loss(frames_BHW, labels_B)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            if not self._by_epoch:
                schedule.step()
            self._step += 1
            # Lightning's autocast spans this whole call and would keep the old weights' casts.
            torch.clear_autocast_cache()
            # Summed on the device: reading the number each step would wait for it each step.
            self._loss_sum += loss.detach()
        self._num_steps += len(batch[1])
        self._num_images += batch[1].numel()

    def _loss(self, frames_BHW: Tensor, labels_B: Tensor) -> Tensor:
        progress = self._step / self._total_steps
        # Each member of an ensemble sees the images moved in its own way, as if it learnt alone.
        num_members = self.network.num_members
        images_B1HW = frames_BHW.repeat(num_members, 1, 1).unsqueeze(1).float() / 255
        images_B1HW = self._augment(images_B1HW, self._generator, progress)
        if self._rows is not None:
            # The mean over the processes is then the mean over the batch, whoever has a row more.
            weight = self.trainer.world_size / len(labels_B)
            of_each_MB1HW = images_B1HW.view(num_members, -1, *images_B1HW.shape[1:])
            images_B1HW = of_each_MB1HW[:, self._rows].flatten(0, 1)
            labels_B = labels_B[self._rows]
            return len(labels_B) * weight * self._mean_loss(images_B1HW, labels_B)
        return self._mean_loss(images_B1HW, labels_B)

    def _mean_loss(self, images_B1HW: Tensor, labels_B: Tensor) -> Tensor:
        images_B1HW = images_B1HW.contiguous(memory_format=torch.channels_last)
        logits_BK = self._logits(images_B1HW).float()
        (teacher,) = self._teacher
        if teacher is not None:
            with torch.no_grad():
                answer_BK = teacher.logits(images_B1HW)[:, : logits_BK.shape[-1]]
            return F.cross_entropy(logits_BK, answer_BK.float().softmax(1))
        targets_B = labels_B.repeat(self.network.num_members)
        return F.cross_entropy(logits_BK, targets_B, label_smoothing=self._label_smoothing)

    def on_validation_epoch_start(self) -> None:
        # Before the clock is read: on a GPU this waits for the steps, which are only queued.
        self._train_loss = self._over_ranks(self._loss_sum, "mean").item() / self._num_steps
        self._train_s = time.perf_counter() - self._epoch_start_s
        self._val_sums = torch.zeros(2, device=self.device)
        self._num_val = 0

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        frames_BHW, labels_B = batch
        self._num_val += len(labels_B)
        if self._rows is not None:
            frames_BHW, labels_B = frames_BHW[self._rows], labels_B[self._rows]
        # Images of no class are learnt from, and not validated on.
        logits_BK = self.network(frames_BHW)[:, : self._num_classes].float()
        self._val_sums += torch.stack(
            (
                F.cross_entropy(logits_BK, labels_B, reduction="sum"),
                (logits_BK.argmax(1) == labels_B).sum().float(),
            )
        )

    def on_train_epoch_end(self) -> None:
        """Log the epoch. Lightning saves the checkpoint after this, so never a diverged one."""
        loss = self._train_loss
        sums = self._over_ranks(self._val_sums, "sum")
        val_loss, val_accuracy = (sums / self._num_val).tolist()
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
            "images_per_s": self._num_images / self._train_s,
        }
        if self._by_epoch:
            self.lr_schedulers().step(val_loss)  # type: ignore[union-attr]
        # For Lightning's own callbacks, which know metrics by what is logged.
        self.log_dict(row)
        best = max((earlier["val_accuracy"] for earlier in self.history), default=-1.0)
        if self._keep_best and val_accuracy > best:
            weights = self.network.state_dict()
            self._best = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
        self.history.append(row)

    def _over_ranks(self, tensor: Tensor, how: str) -> Tensor:
        """Of one process the tensor itself."""
        reduced: Tensor = self.trainer.strategy.reduce(tensor, reduce_op=how)
        return reduced

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history
        checkpoint["best"] = self._best

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]
        self._best = checkpoint["best"]

    def trained_network(self) -> Network:
        """The network with the weights that are to be kept, on the CPU in float32."""
        network = self.network.cpu().float()
        if self._best:
            network.load_state_dict(self._best)
        return network
