"""`digits`, with all its commands.

Those that change and compare what MLflow knows stay out of `digits.cli`, which reads images where
there is no MLflow. What a command needs is imported when it runs.
"""

import gc
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from digits.cli import main
from digits.runs.commands import InFolder, InProject, compare, lineage, runs, sync
from digits.stopping import Mistake

LONGEST_WHY = 1000  # characters


def _some_words(context: click.Context, option: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("say why, for those who ask later", context, option)
    if len(value) > LONGEST_WHY:  # MLflow keeps no tag of any length
        told = f"say it in {LONGEST_WHY:,} characters at most, got {len(value):,}"
        raise click.BadParameter(told, context, option)
    return value.strip()


because = click.option(
    "--because",
    "why",
    required=True,
    callback=_some_words,
    help="Why, for those who ask later.",
)


@click.command("promote", cls=InFolder)
@click.argument("version")
@because
def promote_command(version: str, why: str) -> None:
    """Make VERSION the champion: it is what the service answers with.

    VERSION is one of the registered model, such as v7, or `challenger`, or the name or id of its
    run.
    """
    from digits import promotion

    _said(lambda: promotion.promote(version, why=why))


@click.command("rollback", cls=InFolder)
@because
def rollback_command(why: str) -> None:
    """Make the champion before this one champion again."""
    from digits import promotion

    _said(lambda: promotion.rollback(why=why))


@click.command("adopt", cls=InFolder, short_help="Make a training a candidate of the pipeline.")
@click.argument("run")
@click.option("--name", help="Of the new model; else that of the run's model and the run's id.")
def adopt_command(run: str, name: str | None) -> None:
    """Make a training a candidate of the pipeline: write conf/model/NAME.yaml.

    RUN is a run's id or the beginning of one, or its name.
    """
    from digits import adoption

    adopted = _tried(lambda: adoption.adopt(run, name=name))
    changes = ", ".join(adopted.differs) or "nothing"
    click.echo(f"{adopted.path}: {adopted.base} with {changes} of its own; a candidate now")
    click.echo("  `git status` and `git diff` show it, `make repro` trains it")
    if adopted.elsewhere:
        click.echo(
            f"  it was trained with {', '.join(adopted.elsewhere)}; the pipeline's own trainer may "
            "come to somewhat other figures",
            err=True,
        )


@click.command(
    "history", cls=InProject, short_help="List who became champion, when, by whom, and why."
)
@click.option(
    "--json", "as_json", is_flag=True, help="A line of JSON a change, with its time in UTC."
)
def history_command(as_json: bool) -> None:
    """List who became champion, when, by whom, instead of whom, and why; the last one first."""
    from digits import promotion
    from digits.runs import history, listing

    finished = _tried(promotion.finish)
    if finished:
        _say_resumed(finished)
    entries = _tried(history.read)[::-1]
    if not entries:
        click.echo("there has been no champion yet; `make repro` makes one", err=True)
    for entry in entries:
        if as_json:
            click.echo(json.dumps(asdict(entry)))
        else:
            instead = f" instead of {entry.instead_of}" if entry.instead_of else ""
            when = listing.local_time(1000 * datetime.fromisoformat(entry.when).timestamp())
            click.echo(
                f"{when}  version {entry.version}{instead}, {entry.what} by {entry.who}: "
                f"{entry.why}"
            )
            if entry.compared:
                click.echo(f"  compared, version {entry.instead_of} as A: {entry.compared}")


def _said(change: Callable[[], Any]) -> None:
    done = _tried(change)
    entry = done.entry
    if done.resumed:
        _say_resumed(done)
    instead = f", instead of version {entry.instead_of}" if entry.instead_of else ""
    click.echo(f"version {entry.version} is the champion{instead}, and packaged")
    click.echo("  a service that runs answers with it once it is started again: `make serve`")
    click.echo("  `make repro` notes it in dvc.lock")


def _say_resumed(change: Any) -> None:
    click.echo(f"finished what was interrupted: {change.entry.what}", err=True)


def _tried(act: Callable[[], Any]) -> Any:
    from digits.runs.tracking import TrackingError

    try:
        return act()
    except (OSError, ValueError, TrackingError) as error:
        raise Mistake(str(error)) from None


for command in (
    *(runs, compare, lineage, sync, adopt_command),
    *(promote_command, rollback_command, history_command),
):
    main.add_command(command)


def run() -> None:
    """The program `digits`.

    Python's collector would look through all that MLflow imports again and again, and once more at
    the end: a third of what most commands take.
    """
    gc.disable()
    try:
        main()
    finally:
        gc.freeze()


if __name__ == "__main__":
    run()
