"""The registry: which version is registered, and which one is champion."""

from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from digits.runs import registry, tracking
from serving_fixtures import write_bundle

pytestmark = [
    # MLflow's SQL store uses what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    # MLflow's own code, as it loads.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred"),
]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return tracking.client()


def trained(folder: Path, *, stand_in: bool) -> str:
    """A finished run that logged a model; its id."""
    write_bundle(folder, seed=1)
    with tracking.run(name="tiny", tags={"fallback": str(stand_in).lower()}) as run:
        run.log_model(folder, np.zeros((1, 28, 28), np.uint8), requirements=["onnxruntime"])
        return run.run_id


def champion(store: MlflowClient) -> str:
    return str(store.get_model_version_by_alias(registry.MODEL, registry.CHAMPION).run_id)


def test_a_model_trained_on_a_stand_in_never_dethrones_one_that_was_not(
    store: MlflowClient, tmp_path: Path
) -> None:
    first = trained(tmp_path / "a", stand_in=True)
    assert registry.register(first, reason="first", stand_in=True) == (1, True)
    real = trained(tmp_path / "b", stand_in=False)
    assert registry.register(real, reason="real", stand_in=False) == (2, True)
    later = trained(tmp_path / "c", stand_in=True)
    assert registry.register(later, reason="later", stand_in=True) == (3, False)
    assert champion(store) == real


def test_a_run_is_registered_once_however_often_asked(store: MlflowClient, tmp_path: Path) -> None:
    one, other = (trained(tmp_path / name, stand_in=False) for name in "ab")
    assert registry.register(one, reason="better", stand_in=False) == (1, True)
    assert registry.register(other, reason="better still", stand_in=False) == (2, True)
    assert registry.register(one, reason="back again", stand_in=False) == (1, True)
    assert champion(store) == one
    assert store.get_model_version(registry.MODEL, "1").description == "back again"
