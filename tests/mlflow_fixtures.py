"""MLflow's own server for a module's tests, which may take it away."""

from collections.abc import Iterator

import pytest

from mlflow_server import Server


# A module asks for it by a mark, so before its first test: it takes ten seconds to start.
@pytest.fixture(scope="module")
def tracker(tracker_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    server = Server(
        folder,
        MLFLOW_BACKEND_STORE_URI=tracker_database,
        MLFLOW_ARTIFACTS_DESTINATION=f"{folder}/artifacts",
    )
    yield server
    server.kill()


@pytest.fixture(scope="module")
def tracker_database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The server's own, to look at its runs where it is gone."""
    return f"sqlite:///{tmp_path_factory.mktemp('database')}/server.db"
