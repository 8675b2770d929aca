"""Fixtures that several test modules share: made once for all of them."""

import os
import signal

import pytest

# One thread a process, whoever starts it: there are as many processes as cores, and threads that
# wait for each other on a busy machine take ten times as long.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell starts what runs in its background deaf to Ctrl-C, and so would be all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from training_fixtures import TINY, Project, begin_loading, make_project

# Their fixtures are made once for all modules; one that each module imports would not be.
pytest_plugins = (
    "serving_fixtures",
    "bench_fixtures",
    "fetch_fixtures",
    "gate_fixtures",
    "launcher_fixtures",
    "mlflow_fixtures",
    "page_fixtures",
    "pipeline_fixtures",
    "promotion_fixtures",
    "postgres_fixtures",
    "team_fixtures",
)


# What takes minutes is begun first, so that none of it is left to one process at the end: by the
# module, or by the fixture that it shares with other modules.
LONGEST = ("story", "forkserver", "another forkserver", "test_launchers", "packaged")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Keep the tests of a module in one process, and modules that share what takes long to make."""
    groups = {item.module: item.module.__name__ for item in items}
    for item in items:
        for name in LONGEST:
            if name in item.fixturenames:
                groups[item.module] = name
    # Half of them by another process: one alone would be busy last.
    forking = [module for module, group in groups.items() if group == "forkserver"]
    groups |= dict.fromkeys(forking[::2], "another forkserver")
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item.module]))
        if "postgres" in item.fixturenames:
            item.add_marker(pytest.mark.cluster)
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(groups[item.module], len(LONGEST)))


@pytest.fixture(scope="session")
def forkserver() -> None:
    """Begin to load what trainings need, in the background."""
    begin_loading()


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
