"""Changing the champion by hand: all of it moves, or the next command makes it whole."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mlflow.tracking import MlflowClient

from digits import champion, package, promotion
from digits.commands import main
from digits.runs import history, registry
from gate_fixtures import aliases, crowned, judge, learnt, select
from serving_fixtures import DETAILS, ROOT

pytestmark = [
    # MLflow's SQL store uses what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    # MLflow's own code, as it loads.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred"),
]


def pack(**_: Any) -> str:
    """Stands for a Bento that takes seconds to build: says what would be in it."""
    Path("packaged.json").write_text(json.dumps(champion.read()))
    return "digits:tag"


@pytest.fixture
def two(store: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
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


def expect_champion(store: MlflowClient, run_id: str, version: int) -> None:
    """The folder, what is packaged, and the registry agree."""
    assert crowned() == run_id
    assert json.loads(Path("packaged.json").read_text())["run_id"] == run_id
    assert aliases(store)["champion"] == str(version)
    assert history.read()[-1].version == version
    assert not champion.PENDING.exists()


def test_a_challenger_is_promoted_and_the_change_taken_back(
    store: MlflowClient, two: tuple[str, str]
) -> None:
    first, second = two
    result = digits("promote", "challenger", "--because", "it reads my sevens")
    assert result.exit_code == 0, result.stderr
    assert "version 2 is the champion, instead of version 1, and packaged" in result.stdout
    expect_champion(store, second, 2)
    assert "challenger" not in aliases(store)
    origin = json.loads(Path("champion/champion.json").read_text())
    assert (origin["name"], origin["version"], origin["git_commit"]) == ("tiny", 2, "abc")
    assert origin["metrics"] == json.loads(Path("reports/tiny/metrics.json").read_text())
    assert json.loads(Path("champion/samples.json").read_text())["samples"]
    assert json.loads(Path("champion/details.json").read_text()) == DETAILS

    result = digits("rollback", "--because", "not my eights")
    assert result.exit_code == 0, result.stderr
    expect_champion(store, first, 1)

    changes = [json.loads(line) for line in digits("history", "--json").stdout.splitlines()]
    told = [(one["what"], one["version"], one["instead_of"], one["why"]) for one in changes]
    assert told == [
        ("rollback", 1, 2, "not my eights"),
        ("promote", 2, 1, "it reads my sevens"),
        ("gate", 1, None, "there was no champion"),
    ]
    assert all(one["who"] and one["when"].endswith("+00:00") for one in changes)
    assert "version 2 instead of 1, promote by" in digits("history").stdout


def test_the_gate_leaves_alone_what_was_taken_back_until_it_is_promoted(
    store: MlflowClient, two: tuple[str, str]
) -> None:
    first, _ = two
    better = select(weights=learnt())
    assert judge()["promoted"]
    promotion.rollback(why="it is too sure of itself")
    expect_champion(store, first, 1)
    verdict = judge()
    assert not verdict["promoted"]
    assert verdict["reason"] == "it was taken back; `digits promote` undoes that"
    promotion.promote("v3", why="it is not")
    expect_champion(store, better, 3)
    assert judge()["reason"] == "it is the champion"


def test_the_gate_does_not_undo_a_promotion_and_rolling_back_twice_goes_back_by_two(
    store: MlflowClient, two: tuple[str, str]
) -> None:
    first, second = two
    promotion.promote("challenger", why="it reads my sevens")
    third = select(weights=learnt())
    assert judge()["promoted"]
    promotion.promote("v1", why="the oldest is the best")
    assert not judge()["promoted"]  # the third is selected still
    expect_champion(store, first, 1)
    promotion.rollback(why="no")
    expect_champion(store, third, 3)
    promotion.rollback(why="no again")
    expect_champion(store, second, 2)
    promotion.rollback(why="and again")
    expect_champion(store, first, 1)
    with pytest.raises(ValueError, match="no champion to go back to"):
        promotion.rollback(why="once more")


def test_what_cannot_be_packaged_changes_nothing(
    store: MlflowClient, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> str:
        if champion.read()["run_id"] == two[1]:
            raise FileNotFoundError("bentofile.yaml is missing")
        return pack()

    pack()
    monkeypatch.setattr(package, "run", refuse)
    result = digits("promote", "challenger", "--because", "x")
    assert result.exit_code == 2
    assert result.stderr == "Error: it cannot be packaged: bentofile.yaml is missing\n"
    expect_champion(store, two[0], 1)
    assert aliases(store)["challenger"] == "2"
    assert not list(Path().glob(".champion*"))


def test_a_bundle_that_cannot_be_read_is_refused_before_anything_changes(
    store: MlflowClient, two: tuple[str, str]
) -> None:
    (place,) = Path("mlartifacts").glob(f"{two[1]}/artifacts/bundle/model.json")
    place.write_text(json.dumps({**json.loads(place.read_text()), "format": 1}))
    pack()
    result = digits("promote", "challenger", "--because", "x")
    assert result.exit_code == 2
    assert "has format 1, this version reads" in result.stderr
    expect_champion(store, two[0], 1)


def test_without_its_folder_the_champion_is_brought_from_mlflow(
    store: MlflowClient, two: tuple[str, str]
) -> None:
    first, second = two
    shutil.rmtree("champion")
    assert not judge()["promoted"]
    assert crowned() == first
    shutil.rmtree("champion")
    promotion.promote("challenger", why="in a new clone")
    expect_champion(store, second, 2)
    promotion.rollback(why="no")
    expect_champion(store, first, 1)


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
    two: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    done: bool,
) -> None:
    _, second = two
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


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("promote", "v9", "--because", "x"), "there is no run 'v9'"),
        (("promote", "champion", "--because", "x"), "version 1 is the champion already"),
        (("promote", "challengr", "--because", "x"), "did you mean 'challenger'?"),
        (("promote", "v2"), "Missing option '--because'"),
        (("rollback", "--because", "x"), "there is no champion to go back to"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_changes_nothing(
    store: MlflowClient, two: tuple[str, str], words: tuple[str, ...], sentence: str
) -> None:
    pack()
    result = digits(*words)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    expect_champion(store, two[0], 1)


def test_without_a_champion_there_is_no_history(store: MlflowClient) -> None:
    result = digits("history")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "there has been no champion yet" in result.stderr


def test_what_was_interrupted_and_cannot_be_finished_is_undone_and_said(
    store: MlflowClient, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    pack()
    with monkeypatch.context() as patch:
        patch.setattr(champion, "crown_run", killed)
        with pytest.raises(KeyboardInterrupt):
            promotion.promote("challenger", why="x")
    shutil.rmtree(Path("mlartifacts") / two[1] / "artifacts/bundle")
    result = digits("history")
    assert result.exit_code == 2
    assert "has no bundle in MLflow" in result.stderr
    expect_champion(store, two[0], 1)


def test_a_champion_that_was_crowned_is_not_lost_where_packaging_it_again_fails(
    store: MlflowClient, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def killed(self: Path, **given: Any) -> None:
        if self == champion.PENDING:
            raise KeyboardInterrupt
        unlink(self, **given)

    def refuse(**_: Any) -> str:
        raise FileNotFoundError("bentofile.yaml is missing")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            promotion.promote("challenger", why="x")
    with monkeypatch.context() as patch:
        patch.setattr(package, "run", refuse)
        assert "it cannot be packaged" in digits("history").stderr
    expect_champion(store, two[1], 2)


def test_the_first_champion_that_cannot_be_packaged_leaves_none(
    store: MlflowClient, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> str:
        raise FileNotFoundError("bentofile.yaml is missing")

    shutil.rmtree("champion")
    monkeypatch.setattr(package, "run", refuse)
    assert digits("promote", "challenger", "--because", "x").exit_code == 2
    assert not Path("champion").exists()
    assert not list(Path().glob("*champion*"))
