"""MLflow stores for tests: its client, and a new database without the seconds that one takes."""

import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from digits.runs import tracking


def mlflow_client(tracking_uri: str) -> Any:
    """MLflow's own client, to see what was logged."""
    tracking.be_quiet_and_quick()  # before the first import, or it says which tables it makes
    with warnings.catch_warnings():
        # MLflow's modules warn while they are imported, of what they use of other packages.
        warnings.simplefilter("ignore")
        from mlflow.store.tracking import sqlalchemy_store  # noqa: F401
        from mlflow.tracking import MlflowClient
    return MlflowClient(tracking_uri)


def new_store(path: Path) -> str:
    """The address of a database as MLflow leaves a new one, at a path where there is none yet."""
    path.write_bytes(_new_database())
    return f"sqlite:///{path}"


@cache
def _new_database() -> bytes:
    """MLflow makes its tables by all of its migrations, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        mlflow_client(f"sqlite:///{path}").search_experiments()
        return path.read_bytes()
