"""The registry: which version is registered, and which are champion and challenger."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from digits.runs import recording, registry, tracking
from serving_fixtures import write_bundle
from stores import new_store

pytestmark = [
    # MLflow's SQL store uses what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    # MLflow's own code, as it loads.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred"),
]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "mlflow.db"))
    return tracking.client()


def trained(folder: Path) -> str:
    """A finished run that logged a model; its id."""
    write_bundle(folder, seed=1)
    with recording.run(name="tiny", tags={}) as run:
        run.log_model(folder, requirements=["onnxruntime"])
        return run.run_id


def alias(store: MlflowClient, name: str) -> int | None:
    found = store.get_registered_model(registry.MODEL).aliases.get(name)
    return None if found is None else int(found)


def test_a_run_is_registered_once_however_often_asked(store: MlflowClient, tmp_path: Path) -> None:
    one, other = (trained(tmp_path / name) for name in "ab")
    assert registry.register(one, reason="better") == 1
    assert registry.register(other, reason="better still") == 2
    assert registry.register(one, reason="back again") == 1
    assert store.get_model_version(registry.MODEL, "1").description == "back again"
    assert alias(store, "champion") is None


def test_a_verdict_moves_the_aliases_and_says_why(store: MlflowClient, tmp_path: Path) -> None:
    for name in "ab":
        registry.register(trained(tmp_path / name), reason="selected")
    registry.judged(1, promoted=True, reason="there was no champion")
    assert (alias(store, "champion"), alias(store, "challenger")) == (1, None)
    registry.judged(2, promoted=False, reason="not shown to be better")
    assert (alias(store, "champion"), alias(store, "challenger")) == (1, 2)
    tags = store.get_model_version(registry.MODEL, "2").tags
    assert tags == {"gate": "kept out", "gate.reason": "not shown to be better"}
    registry.judged(2, promoted=True, reason="better")
    assert (alias(store, "champion"), alias(store, "challenger")) == (2, None)
    assert store.get_model_version(registry.MODEL, "2").tags["gate"] == "promoted"
