"""The command line for who compares runs: `digits runs`, `digits compare`, and what they need."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from digits import addresses
from digits.runs import listing
from digits.stopping import Mistake, expect_project

HTML = click.Path(path_type=Path, dir_okay=False, writable=True)
LONGEST_CELL = 40  # characters of a parameter's value in the terminal
MOST_LISTED = 10  # images on which two models disagree, in the terminal


class InProject(click.Command):
    """A command that asks MLflow: the one in the project's folder, where no other is named."""

    def invoke(self, context: click.Context) -> Any:
        """Run it; a Mistake where there is no project, rather than an empty store left there."""
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            expect_project("set MLFLOW_TRACKING_URI")
        return super().invoke(context)


class InFolder(InProject):
    """A command that changes the project, which it therefore wants wherever MLflow is."""

    def invoke(self, context: click.Context) -> Any:
        """Run it; a Mistake where there is no project."""
        expect_project()
        return super().invoke(context)


@click.command(cls=InProject)
@click.option("--where", multiple=True, metavar="KEY=VALUE", help="Only runs that have this.")
@click.option("--sort", type=click.Choice([*listing.SORTS]), default="validation")
@click.option("--most", type=click.IntRange(min=1), default=20, help="So many runs at most.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON a run.")
@click.option("--html", type=HTML, help="Write the table to this file, for a browser, too.")
def runs(where: tuple[str, ...], sort: str, most: int, as_json: bool, html: Path | None) -> None:
    """List the trainings in MLflow, the best on validation first.

    KEY is model, dataset, status, or a parameter: --where model=cnn --where seed=1
    """
    from digits.runs.tracking import TrackingError

    try:
        found = listing.search(where=where, sort=sort, most=most)
    except (ValueError, TrackingError) as error:
        raise Mistake(str(error)) from None
    if html:
        from digits.runs import report

        wanted = f"those with {' and '.join(where)}, " if where else ""
        about = f"{wanted}sorted by {sort}, {most} at most"
        _written(html, lambda: report.write_runs(html, found, about=about))
    if as_json:
        for training in found:
            click.echo(json.dumps(asdict(training)))
    elif found:
        _table(listing.HEADS, [listing.cells(training) for training in found])
    else:
        wanted = " with " + " and ".join(where) if where else ""
        click.echo(f"no training{wanted} is in MLflow; `make repro` makes some", err=True)


@click.command(
    cls=InProject, short_help="Compare two trainings, and let both read the same test images."
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="All of it as one line of JSON.")
@click.option("--html", type=HTML, help="Write it to this file, for a browser: curves and images.")
def compare(first: str, second: str, as_json: bool, html: Path | None) -> None:
    """Compare two trainings: parameters, results, and the same test images one by one.

    A and B are run ids or the beginning of one, run names, versions such as v7, `champion`, or
    candidates of the pipeline here, such as cnn.
    """
    from digits.runs import comparison
    from digits.runs.tracking import TrackingError

    try:
        found = comparison.compare(first, second)
    except (ValueError, OSError, TrackingError) as error:
        raise Mistake(str(error)) from None
    if html:
        from digits.runs import report

        _written(html, lambda: report.write_comparison(html, found))
    if as_json:
        click.echo(comparison.as_json(found))
        return
    sides = [f"{side.name} ({side.run_id[:8]})" for side in (found.first, found.second)]
    _table(("", "A", "B"), [["run", *sides], *map(list, found.results)])
    click.echo()
    if found.curves:
        _table(("validation after epoch", "A", "B"), [list(row) for row in found.curves])
        if len(found.curves) < found.num_epochs:
            rest = "" if html else "; --html FILE draws all"
            click.echo(f"  {len(found.curves)} of {found.num_epochs} epochs{rest}")
        click.echo()
    if found.differing:
        _table(("parameters that differ", "A", "B"), [_shortened(row) for row in found.differing])
    else:
        click.secho("no parameter differs", bold=True)
    click.echo()
    if found.paired:
        click.echo(
            f"of {found.paired.num:,} test images {found.paired.both_right:,} are read right by "
            f"both, {found.paired.only_first} by A alone, {found.paired.only_second} by B alone, "
            f"{found.paired.both_wrong} by neither"
        )
    click.secho(found.verdict, bold=True)
    for one in found.disagreements[:MOST_LISTED]:
        click.echo(f"  test image {one.index}, a {one.label}: A {one.first}, B {one.second}")
    more = len(found.disagreements) - MOST_LISTED
    if more > 0:
        click.echo(f"  and {more} more{'' if html else '; --html FILE shows them'}")


@click.command(
    cls=InProject, short_help="Say where a model comes from, or what learnt from a data set."
)
@click.argument("name", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON, or one a training.")
def lineage(name: str, as_json: bool) -> None:
    """Say where a model comes from, or which models learnt from a data set.

    ID is a version, an alias, a run's id or name; or the digest of a data set (sha256:…), whole or
    its beginning. All of them stand in the `model` that comes with each answer of the service.
    """
    from digits.runs import origins
    from digits.runs.tracking import TrackingError

    try:
        if name.startswith(origins.DIGEST):
            trainings = origins.of_data(name)
            if as_json:
                for training in trainings:
                    click.echo(json.dumps(asdict(training)))
            else:
                _table(listing.HEADS, [listing.cells(training) for training in trainings])
            return
        found = asdict(origins.of_model(name))
    except (ValueError, TrackingError) as error:
        raise Mistake(str(error)) from None
    if as_json:
        click.echo(json.dumps(found))
        return
    for key, value in found.items():
        title = key.replace("_", " ")
        if isinstance(value, dict):
            click.secho(title, bold=True)
            for part, of_it in value.items():
                click.echo(f"  {part}  {of_it}")
        else:
            click.echo(f"{click.style(f'{title:12}', bold=True)} {'' if value is None else value}")


@click.command(cls=InProject, short_help="Send MLflow what it missed while it was away.")
def sync() -> None:
    """Send MLflow what it missed of trainings and evaluations while it was away."""
    from digits.runs import tracking, unsent

    kept = unsent.runs()
    if not kept:
        click.echo("nothing is kept in unsent/: MLflow has it all", err=True)
        return
    unknown: list[str] = []
    refused: list[str] = []
    much = "all"
    try:
        tracking.check_reachable()
        for run_id in kept:
            try:
                sent = unsent.send(run_id)
            except (tracking.TrackingError, OSError) as error:
                tracking.check_reachable()  # a store that is gone by now would refuse each
                refused.append(f"run {run_id} cannot be sent and is kept: {_reason(error)}")
                continue
            if sent:
                click.echo(str(sent))
                much = "the rest"
            elif unsent.holds(run_id):
                unknown.append(run_id)
    except tracking.TrackingError as error:
        raise Mistake(f"{error}; {much} is kept") from None
    if unknown:
        store = addresses.without_password(tracking.tracking_uri())
        refused.append(
            f"{store} has no run {', '.join(unknown)}; set MLFLOW_TRACKING_URI to the store that "
            f"has, or remove {unsent.FOLDER}/RUN"
        )
    if refused:
        raise Mistake("; ".join(refused))


def _reason(error: Exception) -> str:
    """What a store refuses something for, in a line; it answers, so its address says nothing."""
    cause = error.__cause__ or error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]


def _written(path: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        raise Mistake(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"written to {path}", err=True)


def _shortened(row: tuple[str, str, str]) -> list[str]:
    return [cell if len(cell) <= LONGEST_CELL else f"{cell[: LONGEST_CELL - 1]}…" for cell in row]


def _table(heads: Sequence[str], rows: list[list[str]]) -> None:
    """Columns as wide as their widest cell, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    numbers = [
        all(row[at][:1].isdigit() or not row[at] for row in rows) for at in range(len(heads))
    ]
    for place, row in enumerate((list(heads), *rows)):
        line = "  ".join(
            f"{cell:>{width}}" if is_number else f"{cell:{width}}"
            for cell, width, is_number in zip(row, widths, numbers, strict=True)
        )
        click.secho(line.rstrip(), bold=place == 0)
