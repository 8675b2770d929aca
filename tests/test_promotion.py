"""Changing the champion by hand: all of it moves."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow.tracking import MlflowClient

from digits import champion, promotion
from digits.runs import finding, history
from gate_fixtures import aliases, crowned, judge, learnt, select
from promotion_fixtures import digits, expect_champion, pack, purge
from serving_fixtures import DETAILS

pytestmark = [
    # MLflow's SQL store uses what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    # MLflow's own code, as it loads.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred"),
]


def test_a_challenger_is_promoted_and_the_change_taken_back(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    first, second = two_versions
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
    assert [one["compared"].partition(" (")[0] for one in changes] == [
        "neither is shown to be better",
        "neither is shown to be better",
        "",
    ]
    told_plainly = digits("history").stdout
    assert "version 2 instead of 1, promote by" in told_plainly
    assert "compared, version 1 as A: neither is shown to be better (B - A " in told_plainly


def test_the_gate_leaves_alone_what_was_taken_back_until_it_is_promoted(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    first, _ = two_versions
    better = select(weights=learnt())
    assert judge()["promoted"]
    promotion.rollback(why="it is too sure of itself")
    expect_champion(store, first, 1)
    verdict = judge()
    assert not verdict["promoted"]
    told, command, end = verdict["reason"].split("`")
    assert (told, end) == ("a person put another in its place; ", " makes it champion")
    result = digits(*shlex.split(command)[1:])
    assert result.exit_code == 0, result.stderr
    expect_champion(store, better, 3)
    assert judge()["reason"] == "it was chosen again, and stays"


def test_the_gate_does_not_undo_a_promotion_and_rolling_back_twice_goes_back_by_two(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    first, second = two_versions
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


def test_without_its_folder_the_champion_is_brought_from_mlflow(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    first, second = two_versions
    shutil.rmtree("champion")
    assert not judge()["promoted"]
    assert crowned() == first
    shutil.rmtree("champion")
    promotion.promote("challenger", why="in a new clone")
    expect_champion(store, second, 2)
    promotion.rollback(why="no")
    expect_champion(store, first, 1)


def in_the_older_checkout() -> None:
    """Where the champion's folder is what was kept as older/."""
    shutil.rmtree("champion")
    shutil.copytree("older", "champion")


def test_a_checkout_with_an_older_champion_takes_the_one_of_the_team(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    first, second = two_versions
    shutil.copytree("champion", "older")
    promotion.promote("challenger", why="it reads our sevens")
    in_the_older_checkout()
    select(seed=1)  # the same as the first once more, which a person took the place from
    verdict = judge()
    assert verdict["reason"].startswith("a person put another in its place; `digits promote v")
    assert verdict["champion"]["version"] == 2
    expect_champion(store, second, 2)

    in_the_older_checkout()
    promotion.promote("v1", why="it reads our nines")
    expect_champion(store, first, 1)
    assert (history.read()[-1].version, history.read()[-1].instead_of) == (1, 2)


@pytest.mark.parametrize(
    ("why", "sentence"),
    [
        ("", "say why, for those who ask later"),
        ("  ", "say why, for those who ask later"),
        ("x" * 1001, "say it in 1,000 characters at most, got 1,001"),
    ],
)
def test_a_change_without_a_reason_is_none(
    store: MlflowClient, two_versions: tuple[str, str], why: str, sentence: str
) -> None:
    pack()
    for words in (("promote", "v2"), ("rollback",)):
        result = digits(*words, "--because", why)
        assert result.exit_code == 2
        assert sentence in result.stderr
    expect_champion(store, two_versions[0], 1)


def test_a_rollback_in_an_older_checkout_undoes_the_champion_of_the_team(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    first, _ = two_versions
    shutil.copytree("champion", "older")
    promotion.promote("v2", why="it reads our sevens")
    in_the_older_checkout()
    promotion.rollback(why="v2 is bad")
    expect_champion(store, first, 1)
    assert (history.read()[-1].version, history.read()[-1].instead_of) == (1, 2)


def test_what_the_gate_replaced_is_not_taken_for_what_a_person_did(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    shutil.copytree("champion", "older")
    better = select(weights=learnt())
    assert judge()["promoted"]
    in_the_older_checkout()
    promotion.promote("v2", why="of the older checkout")
    (dethroned,) = (champion.read() or {})["taken_back"]
    bundle = finding.bundle(better)
    assert bundle
    assert dethroned == champion.digest(bundle)


def test_a_stand_in_that_a_person_promotes_does_not_keep_the_real_one_out(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    select(dataset="optdigits", stand_in=True, weights=learnt())
    reason = judge()["reason"]
    assert reason == (
        "trained on a stand-in, and the champion was not; "
        '`digits promote v3 --because "..."` makes it champion'
    )
    promotion.promote("v3", why="while there is no network")
    select(seed=1)
    assert judge()["promoted"]


def test_a_run_that_was_deleted_for_good_costs_a_new_checkout_nothing(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    first, second = two_versions
    promotion.promote("v2", why="it reads my sevens")
    purge(store, first)
    shutil.rmtree("champion")
    judge()
    expect_champion(store, second, 2)


@pytest.mark.parametrize("here", ["none", "an older one"])
def test_a_champion_that_was_deleted_for_good_counts_as_none_in_another_checkout(
    store: MlflowClient,
    two_versions: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
    here: str,
) -> None:
    first, second = two_versions
    shutil.copytree("champion", "older")
    promotion.promote("v2", why="it reads my sevens")
    purge(store, second)
    in_the_older_checkout()
    if here == "none":
        shutil.rmtree("champion")
    third = select(weights=learnt())
    capsys.readouterr()
    verdict = judge()
    assert capsys.readouterr().err == (
        f"version 2 is MLflow's champion, but its run {second[:8]} has no bundle there any more, "
        "and so it counts as none\n"
    )
    assert (verdict["promoted"], crowned(), aliases(store)["champion"]) == (True, third, "3")
    assert (verdict["champion"] or {}).get("version") == (1 if here == "an older one" else None)
    assert (history.read()[-1].version, history.read()[-1].instead_of) == (3, 2)
    promotion.rollback(why="to the last one that is left")
    expect_champion(store, first, 1)


def test_a_champion_that_was_deleted_for_good_gives_way_to_another_in_a_new_checkout(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    first, second = two_versions
    promotion.promote("v2", why="it reads my sevens")
    purge(store, second)
    shutil.rmtree("champion")
    promotion.promote("v1", why="the other one is gone")
    expect_champion(store, first, 1)


def test_two_commands_do_not_change_the_champion_at_once(
    store: MlflowClient, two_versions: tuple[str, str]
) -> None:
    pack()
    with FileLock(".champion.lock"):
        for words in (("promote", "v2", "--because", "x"), ("rollback", "--because", "x")):
            result = digits(*words)
            assert result.exit_code == 2
            assert "another command changes the champion just now" in result.stderr
        assert (
            digits("history").exit_code == 0
        )  # it changes nothing, and there is nothing to finish
    expect_champion(store, two_versions[0], 1)
    assert digits("promote", "v2", "--because", "x").exit_code == 0


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
    store: MlflowClient, two_versions: tuple[str, str], words: tuple[str, ...], sentence: str
) -> None:
    pack()
    result = digits(*words)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    expect_champion(store, two_versions[0], 1)


def test_without_a_champion_there_is_no_history(store: MlflowClient) -> None:
    result = digits("history")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "there has been no champion yet" in result.stderr


def test_who_has_no_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert history.new(what="promote", version=1, instead_of=None, why="x").who == "user 4711"
