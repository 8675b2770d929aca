"""Learning-rate schedules of (optimizer, total_steps); conf/schedule/ names them."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR


def one_cycle(optimizer: Optimizer, *, total_steps: int, warmup: float) -> OneCycleLR:
    """Up to the optimiser's learning rate for a share of the steps, then down to nothing.

    L. Smith and N. Topin 2018, arXiv 1708.07120.
    """
    peak = optimizer.param_groups[0]["lr"]
    return OneCycleLR(optimizer, max_lr=peak, total_steps=total_steps, pct_start=warmup)


def constant(optimizer: Optimizer, *, total_steps: int) -> LambdaLR:
    """The optimiser's learning rate throughout."""
    return LambdaLR(optimizer, lambda step: 1.0)
