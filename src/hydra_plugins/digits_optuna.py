"""Where Hydra looks for sweepers: it takes none from another package than hydra_plugins."""

from digits.sweeping.search import Search


class OptunaSweeper(Search):
    """`hydra/sweeper=optuna`."""
