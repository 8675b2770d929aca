"""A change of the champion that fails or is killed: undone, or made whole by the next command."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.tracking import MlflowClient

from digits import champion, package, promotion
from digits.runs import history, registry
from gate_fixtures import aliases, judge, select
from promotion_fixtures import digits, expect_champion, pack, purge, refuse

pytestmark = [
    # MLflow's SQL store uses what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    # MLflow's own code, as it loads.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred"),
]


def killed(*_: Any, **__: Any) -> None:
    """As a step at which the command is killed."""
    raise KeyboardInterrupt


def test_what_cannot_be_packaged_changes_nothing(
    store: MlflowClient, two_versions: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_second(**_: Any) -> str:
        return refuse() if champion.read()["run_id"] == two_versions[1] else pack()

    pack()
    monkeypatch.setattr(package, "run", refuse_second)
    result = digits("promote", "challenger", "--because", "x")
    assert result.exit_code == 2
    assert result.stderr == "Error: it cannot be packaged: bentofile.yaml is missing\n"
    expect_champion(store, two_versions[0], 1)
    assert aliases(store)["challenger"] == "2"
    assert not list(Path().glob(".champion.[!l]*"))


def test_a_champion_whose_run_was_deleted_for_good_gives_way(
    store: MlflowClient, two_versions: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    get_run = MlflowClient.get_run

    def gone(client: MlflowClient, run_id: str) -> Any:
        if run_id == two_versions[0]:  # as `mlflow gc` leaves it
            raise MlflowException("no such run", error_code=RESOURCE_DOES_NOT_EXIST)
        return get_run(client, run_id)

    monkeypatch.setattr(MlflowClient, "get_run", gone)
    result = digits("promote", "2", "--because", "x")
    assert result.exit_code == 0, result.stderr
    expect_champion(store, two_versions[1], 2)
    assert history.read()[-1].compared.startswith("no paired test: the run of v1, ")
    result = digits("compare", "v1", "v2")
    assert result.exit_code == 2
    assert "is no longer in MLflow; `digits runs` lists those that are" in result.stderr


@pytest.mark.parametrize("gone", ["version", "run", "champion"])
def test_a_rollback_passes_over_versions_that_are_gone(
    store: MlflowClient, two_versions: tuple[str, str], gone: str
) -> None:
    first, second = two_versions
    promotion.promote("v2", why="x")
    if gone == "champion":
        store.delete_model_version(registry.MODEL, "2")
    else:
        select(seed=3)
        promotion.promote("v3", why="x")
        if gone == "version":
            store.delete_model_version(registry.MODEL, "2")
        else:
            purge(store, second)
    promotion.rollback(why="no")
    expect_champion(store, first, 1)
    with pytest.raises(ValueError, match="there is no champion to go back to"):
        promotion.rollback(why="once more")


def test_a_bundle_that_cannot_be_read_is_refused_before_anything_changes(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    (place,) = Path("mlartifacts").glob(f"{two_versions[1]}/artifacts/bundle/model.json")
    place.write_text(json.dumps({**json.loads(place.read_text()), "format": 1}))
    pack()
    result = digits("promote", "challenger", "--because", "x")
    assert result.exit_code == 2
    assert "has format 1, this version reads" in result.stderr
    expect_champion(store, two_versions[0], 1)


@pytest.mark.parametrize(
    "step",
    [
        "champion.keep",
        "champion.crown",
        "package.run",
        "registry.judged",
        "history.add",
        "champion.forget",
        "Path.unlink",
    ],
)
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_command_that_is_killed_is_made_whole_by_the_next(
    store: MlflowClient,
    two_versions: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    done: bool,
) -> None:
    _, second = two_versions
    owners = {
        "champion": champion,
        "package": package,
        "registry": registry,
        "history": history,
        "Path": Path,
    }
    owner, _, name = step.partition(".")
    real = getattr(owners[owner], name)

    def killed(*given: Any, **named: Any) -> Any:
        if owner == "Path" and given[0] != champion.PENDING:
            return real(*given, **named)
        if done:
            real(*given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owners[owner], name, killed)
        with pytest.raises(KeyboardInterrupt):
            promotion.promote("challenger", why="once")
    whole = step == "Path.unlink" and done
    assert champion.PENDING.exists() is not whole
    if not whole:
        with pytest.raises(ValueError, match="is not carried out yet; `digits history` does it"):
            judge()
    result = digits("history", "--json")
    assert result.exit_code == 0, result.stderr
    assert ("finished what was interrupted: promote" in result.stderr) is not whole
    assert [json.loads(line)["version"] for line in result.stdout.splitlines()] == [2, 1]
    expect_champion(store, second, 2)


@pytest.mark.parametrize("step", ["keep", "forget"])
@pytest.mark.parametrize(
    "words", [("rollback",), ("promote", "v1")], ids=["rollback", "the same version"]
)
def test_a_rollback_that_is_asked_for_again_after_it_was_killed_is_one(
    store: MlflowClient,
    two_versions: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    words: tuple[str, ...],
) -> None:
    first, _ = two_versions
    for version in ("v2", "v1", "v2"):
        promotion.promote(version, why="x")
    with monkeypatch.context() as patch:
        patch.setattr(champion, step, killed)
        with pytest.raises(KeyboardInterrupt):
            promotion.rollback(why="once")
    result = digits(*words, "--because", "again")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "finished what was interrupted: rollback\n"
    assert "version 1 is the champion, instead of version 2, and packaged" in result.stdout
    expect_champion(store, first, 1)
    assert [entry.why for entry in history.read()][-2:] == ["x", "once"]


@pytest.mark.parametrize("step", ["keep", "forget"])
def test_a_promotion_of_the_challenger_that_is_asked_for_again_after_it_was_killed_is_one(
    store: MlflowClient,
    two_versions: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(champion, step, killed)
        with pytest.raises(KeyboardInterrupt):
            promotion.promote("challenger", why="once")
    result = digits("promote", "challenger", "--because", "again")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "finished what was interrupted: promote\n"
    expect_champion(store, two_versions[1], 2)
    assert [entry.version for entry in history.read()] == [1, 2]


def test_what_was_interrupted_and_cannot_be_finished_is_undone_and_said(
    store: MlflowClient, two_versions: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack()
    with monkeypatch.context() as patch:
        patch.setattr(champion, "crown_run", killed)
        with pytest.raises(KeyboardInterrupt):
            promotion.promote("challenger", why="x")
    shutil.rmtree(Path("mlartifacts") / two_versions[1] / "artifacts/bundle")
    result = digits("history")
    assert result.exit_code == 2
    assert "has no bundle in MLflow" in result.stderr
    expect_champion(store, two_versions[0], 1)


@pytest.mark.parametrize("before", ["a champion", "none"])
def test_an_undoing_that_is_killed_while_it_tidies_up_is_done_again(
    store: MlflowClient,
    two_versions: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    before: str,
) -> None:
    pack()
    if before == "none":
        shutil.rmtree("champion")
    rmtree = shutil.rmtree

    def killed_half_way(path: Any, **named: Any) -> None:
        about = Path(path) / "champion.json"
        if Path(path).suffix in (".tmp", ".old") or not about.exists():
            return rmtree(path, **named)
        about.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(package, "run", refuse)
        patch.setattr(shutil, "rmtree", killed_half_way)
        with pytest.raises(KeyboardInterrupt):
            promotion.promote("challenger", why="x")
    monkeypatch.setattr(package, "run", refuse)
    assert "it cannot be packaged" in digits("history").stderr
    assert not list(Path().glob(".champion.[!l]*"))
    assert not champion.PENDING.exists()
    assert Path("champion").exists() is (before == "a champion")
    if before == "a champion":
        expect_champion(store, two_versions[0], 1)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(registry, "judged"), (history, "add"), (champion, "forget"), (Path, "unlink")],
)
def test_a_champion_that_was_crowned_is_not_lost_where_packaging_it_again_fails(
    store: MlflowClient,
    two_versions: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
) -> None:
    real = getattr(owner, name)

    def killed(*given: Any, **named: Any) -> None:
        if owner is not Path or given[0] == champion.PENDING:
            if owner is registry:  # the alias has moved, and that is all
                real(*given, **named)
            raise KeyboardInterrupt
        real(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(KeyboardInterrupt):
            promotion.promote("challenger", why="x")
    with monkeypatch.context() as patch:
        patch.setattr(package, "run", refuse)
        assert "it cannot be packaged" in digits("history").stderr
    expect_champion(store, two_versions[1], 2)
    assert not list(Path().glob(".champion.[!l]*"))


def test_the_first_champion_that_cannot_be_packaged_leaves_none(
    store: MlflowClient, two_versions: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree("champion")
    monkeypatch.setattr(package, "run", refuse)
    assert digits("promote", "challenger", "--because", "x").exit_code == 2
    assert not Path("champion").exists()
    assert not list(Path().glob(".champion.[!l]*"))
