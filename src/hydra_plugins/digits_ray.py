"""Where Hydra looks for launchers: it takes none from another package than hydra_plugins."""

from digits.sweeping.cluster import OnRay


class RayLauncher(OnRay):
    """`hydra/launcher=ray`."""
