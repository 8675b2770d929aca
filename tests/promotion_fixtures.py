"""A champion and a challenger, for tests that change them by hand."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mlflow.tracking import MlflowClient

from digits import champion, package
from digits.commands import main
from digits.runs import history
from gate_fixtures import aliases, crowned, judge, select
from serving_fixtures import ROOT


def pack(**_: Any) -> str:
    """Stands for a Bento that takes seconds to build: says what would be in it."""
    Path("packaged.json").write_text(json.dumps(champion.read()))
    return "digits:tag"


def refuse(**_: Any) -> str:
    """Stands for one that cannot be built."""
    raise FileNotFoundError("bentofile.yaml is missing")


@pytest.fixture
def two_versions(store: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The champion's run, and that of a challenger which was not better."""
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    monkeypatch.setattr(package, "run", pack)
    first = select(seed=1)
    judge()
    second = select(seed=2)
    assert not judge()["promoted"]
    return first, second


def digits(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def purge(store: MlflowClient, run_id: str) -> None:
    """As `mlflow gc` does."""
    store.delete_run(run_id)
    store._tracking_client.store._hard_delete_run(run_id)


def expect_champion(store: MlflowClient, run_id: str, version: int) -> None:
    """The folder, what is packaged, and the registry agree."""
    assert crowned() == run_id
    assert json.loads(Path("packaged.json").read_text())["run_id"] == run_id
    assert aliases(store)["champion"] == str(version)
    assert history.read()[-1].version == version
    assert not champion.PENDING.exists()
