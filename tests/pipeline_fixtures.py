"""A checkout in which the real DVC ran the whole pipeline, once for all tests."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from checkout import Checkout, Outcome, fill_mirror, make_checkout


@dataclass(frozen=True)
class Offline:
    """A checkout that reached no mirror at first, and what it did then and with a mirror."""

    away: Outcome  # as far as the data
    report: dict[str, Any]
    back: Outcome  # as far as the data
    report_back: dict[str, Any]


@dataclass(frozen=True)
class Story:
    """A checkout in which the whole pipeline ran."""

    checkout: Checkout
    first: Outcome
    crowned: tuple[str, int]  # run and version
    offline: Offline

    @property
    def mlflow(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.checkout.folder / 'mlflow.db'}")

    def champion(self) -> tuple[str, int]:
        """The run and the version that the registry's alias points at now."""
        version = self.mlflow.get_model_version_by_alias("digits", "champion")
        return str(version.run_id), int(version.version)


def go_offline_and_back(checkout: Checkout, mirror: Path) -> Offline:
    away = checkout.dvc("repro", "prepare")
    report = checkout.json("reports/data.json")
    checkout.env["MNIST_MIRROR"] = str(mirror)
    # `dvc exp run` first brings back what dvc.lock names: the stand-in must not come with it.
    back = checkout.dvc("exp", "run", "prepare")
    return Offline(
        away=away,
        report=report,
        back=back,
        report_back=checkout.json("reports/data.json"),
    )


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    mirror = fill_mirror(tmp_path_factory.mktemp("mirror"))
    checkouts = [
        make_checkout(tmp_path_factory.mktemp("checkout"), home=tmp_path_factory.mktemp("home"))
        for _ in range(2)
    ]
    checkout, offline = checkouts
    checkout.env["MNIST_MIRROR"] = str(mirror)
    # Side by side, since most of a stage's time is Python starting on one core.
    with ThreadPoolExecutor() as pool:
        other = pool.submit(go_offline_and_back, offline, mirror)
        first = checkout.dvc("repro")
        selected = checkout.json("reports/selected.json")
        checkout.commit()
        crowned = (selected["run_id"], selected["version"])
        return Story(checkout, first, crowned, other.result())


@pytest.fixture
def checkout(story: Story) -> Iterator[Checkout]:
    """The checkout as the first run left it: every test may change what it likes."""
    yield story.checkout
    story.checkout.reset()
