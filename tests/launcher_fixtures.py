"""What sweeps by other launchers are asked for, and a Ray cluster for them."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from training_fixtures import TINY

# Each launcher's own words for two small trainings at once; those of Ray come from its cluster.
LAUNCHERS = {
    "joblib": ("hydra.launcher.n_jobs=2",),
    "submitit_local": ("hydra.launcher.timeout_min=5", "hydra.launcher.cpus_per_task=1"),
}
SWEPT = [part for part in TINY if not part.startswith(("seed=", "training.epochs="))]
# Two nodes that have a core each, until the standard input ends.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two nodes."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()
