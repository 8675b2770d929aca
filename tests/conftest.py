"""Fixtures that several test modules share: made once for all of them."""

import multiprocessing.forkserver
import os
import signal

import pytest

# One thread a process, whoever starts it: there are as many processes as cores, and threads that
# wait for each other on a busy machine take ten times as long.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell starts what runs in its background deaf to Ctrl-C, and so would be all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from training_fixtures import PRELOADED, TINY, Project, forked, make_project


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Keep the tests of a module in one process, and those that share what takes long to make."""
    for item in items:
        shared = [name for name in ("project", "packaged") if name in item.fixturenames]
        item.add_marker(pytest.mark.xdist_group(shared[0] if shared else item.module.__name__))


@pytest.fixture(scope="session")
def forkserver() -> None:
    """Begin to load what trainings need, in the background."""
    forked.set_forkserver_preload(PRELOADED)
    multiprocessing.forkserver.ensure_running()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, forkserver: None) -> Project:
    """The project that tests share; each writes to its own `out`."""
    return make_project(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="session")
def trained(project: Project) -> Project:
    """The project after one training, whose results are in `trained`."""
    # It ends before the default interval would have come round twice.
    often = {"MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "0.3"}
    training = project.train(*TINY, "out=trained", **often)
    assert training.ended() == 0, training.said()
    return project
