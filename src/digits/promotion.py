"""Change the champion by hand: `digits promote`, `digits rollback`, `digits history`.

The champion's folder, what is packaged, and the alias in MLflow move together. What is to be done
is written down first, in champion.pending.json; a command that finds it finishes that before
anything else, so that one that was killed half way is made whole by the next.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from digits import champion
from digits.files import read_json, write_json
from digits.judging import Verdict
from digits.runs import finding, history, registry, tracking
from digits.runs.commands import Mistake

PENDING = champion.PENDING
ROLLBACK = "rollback"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A champion to be: the version, its run, and what history will say."""

    run_id: str
    entry: history.Entry


def promote(version: str, *, why: str, what: str = "promote") -> Change:
    """Make a version the champion, and the one that is served.

    `version` as `finding.find` takes it. ValueError for one that is not registered or has no
    bundle, TrackingError when the store cannot be used.
    """
    finish()
    run = finding.find(version)
    number = registry.version_of(run.info.run_id)
    if number is None:
        raise ValueError(f"run {run.info.run_id[:8]} ({run.info.run_name}) is not registered")
    ruling = champion.read()
    if ruling and ruling["run_id"] == run.info.run_id:
        raise ValueError(f"version {number} is the champion already")
    if finding.bundle(run.info.run_id) is None:
        raise ValueError(f"version {number} has no bundle in MLflow; train it again")
    entry = history.new(
        what=what, version=number, instead_of=ruling["version"] if ruling else None, why=why
    )
    change = Change(run_id=run.info.run_id, entry=entry)
    write_json(PENDING, asdict(change))
    _carry_out(change)
    return change


def rollback(*, why: str) -> Change:
    """Make the champion before this one champion again."""
    finish()
    entries = history.read()
    if not entries or entries[-1].instead_of is None:
        raise ValueError("there is no champion to go back to; `digits history` lists them")
    return promote(f"v{entries[-1].instead_of}", why=why, what=ROLLBACK)


def finish() -> Change | None:
    """Carry out what a command that was interrupted had begun; None where nothing was."""
    if not PENDING.exists():
        return None
    content = read_json(PENDING, stage="gate")
    change = Change(run_id=content["run_id"], entry=history.Entry(**content["entry"]))
    _carry_out(change)
    return change


def _carry_out(change: Change) -> None:
    """Each step may be done again: the folder, the Bento, the registry, and last the note of it."""
    from digits import package
    from digits.settings import load_params

    tracking.check_reachable()
    entry = change.entry
    _crown(change)
    selected = Path("reports/selected.json")
    package.run(
        champion=champion.FOLDER,
        selected=selected,
        models=Path("models"),
        reports=Path("reports"),
        compare=load_params().compare,
    )
    registry.judged(
        entry.version, promoted=True, reason=f"{entry.what} by {entry.who}: {entry.why}"
    )
    history.add(entry)
    PENDING.unlink()


def _crown(change: Change) -> None:
    ruling = champion.read() or {}
    if ruling.get("run_id") == change.run_id:
        return  # done before the interruption
    bundle = finding.bundle(change.run_id)
    if bundle is None:
        raise ValueError(f"run {change.run_id} has no bundle any more; {PENDING} cannot be done")
    meta = read_json(bundle / "model.json", stage="gate")
    named = {
        "name": meta["name"],
        "version": change.entry.version,
        "run_id": change.run_id,
        "git_commit": finding.commit(change.run_id),
    }
    # The gate leaves alone what a person took back, until a person says otherwise.
    taken_back = [run_id for run_id in ruling.get("taken_back", []) if run_id != change.run_id]
    origin = {
        **named,
        "dataset": meta["lineage"]["dataset"],
        "stand_in": meta["lineage"]["fallback"],
        "taken_back": [*taken_back, *([ruling["run_id"]] if change.entry.what == ROLLBACK else [])],
        "metrics": finding.artifact(change.run_id, "metrics.json"),
    }
    verdict = Verdict(promoted=True, reason=f"{change.entry.what}: {change.entry.why}")
    champion.crown(
        bundle,
        origin=origin,
        samples=finding.artifact(change.run_id, "samples.json") or {"samples": []},
        verdict=champion.described(verdict, challenger=named, champion=None),
    )


# --- the commands ---------------------------------------------------------------------------------

because = click.option("--because", "why", required=True, help="Why, for those who ask later.")


@click.command("promote")
@click.argument("version")
@because
def promote_command(version: str, why: str) -> None:
    """Make VERSION the champion: it is what the service answers with.

    VERSION is one of the registered model, such as v7, or `challenger`, or the name or id of its
    run.
    """
    _said(lambda: promote(version, why=why))


@click.command("rollback")
@because
def rollback_command(why: str) -> None:
    """Make the champion before this one champion again."""
    _said(lambda: rollback(why=why))


@click.command("history")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON a change.")
def history_command(as_json: bool) -> None:
    """List who became champion, when, by whom, instead of whom, and why; the last one first."""
    finished = _tried(finish)
    if finished:
        click.echo(f"finished what was interrupted: {finished.entry.what}", err=True)
    entries: list[history.Entry] = _tried(history.read)[::-1]
    if not entries:
        click.echo("there has been no champion yet; `make repro` makes one", err=True)
    for entry in entries:
        if as_json:
            click.echo(json.dumps(asdict(entry)))
        else:
            instead = f" instead of {entry.instead_of}" if entry.instead_of else ""
            click.echo(
                f"{entry.when}  version {entry.version}{instead}, {entry.what} by {entry.who}: "
                f"{entry.why}"
            )


def _said(change: Callable[[], Change]) -> None:
    entry = _tried(change).entry
    instead = f", instead of version {entry.instead_of}" if entry.instead_of else ""
    click.echo(f"version {entry.version} is the champion{instead}, and packaged")
    click.echo("  `make serve` serves it; `dvc repro` notes it in dvc.lock")


def _tried(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except Exception as error:
        from digits import package  # which loads BentoML

        if isinstance(error, (*package.FAILURES, tracking.TrackingError)):
            raise Mistake(str(error)) from None
        raise
