"""Learning-rate schedules of (optimizer, total_steps); conf/schedule/ names them."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau


def one_cycle(optimizer: Optimizer, *, total_steps: int, warmup: float) -> LRScheduler:
    """Up to the optimiser's learning rate for a share of the steps, then down to nothing.

    L. Smith and N. Topin 2018, arXiv 1708.07120.
    """
    if not 0 <= warmup < 1:
        raise ValueError(f"schedule.warmup must be in [0, 1), got {warmup!r}")
    if total_steps < 3:  # no room for a way up and a way down
        return constant(optimizer, total_steps=total_steps)
    peak = optimizer.param_groups[0]["lr"]
    # PyTorch divides by the steps of the way up less one.
    warmup = max(warmup, 2 / total_steps)
    return OneCycleLR(optimizer, max_lr=peak, total_steps=total_steps, pct_start=warmup)


def constant(optimizer: Optimizer, *, total_steps: int) -> LambdaLR:
    """The optimiser's learning rate throughout."""
    return LambdaLR(optimizer, lambda step: 1.0)


def plateau(
    optimizer: Optimizer, *, total_steps: int, factor: float, patience: int
) -> ReduceLROnPlateau:
    """Multiplied by `factor` after `patience` epochs in which the validation loss did not fall."""
    return ReduceLROnPlateau(optimizer, factor=factor, patience=patience)
