"""The command line for who compares runs: `digits runs`."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from digits.runs import listing


class Mistake(click.ClickException):
    """What was asked for is not there: one line, and the exit status of a wrong usage."""

    exit_code = 2


@click.command()
@click.option("--where", multiple=True, metavar="KEY=VALUE", help="Only runs that have this.")
@click.option("--sort", type=click.Choice([*listing.SORTS]), default="validation")
@click.option("--most", type=click.IntRange(min=1), default=20, help="So many runs at most.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON a run.")
def runs(where: tuple[str, ...], sort: str, most: int, as_json: bool) -> None:
    """List the trainings in MLflow, the best on validation first.

    KEY is model, dataset, status, or a parameter: --where model=cnn --where seed=1
    """
    from digits.runs.tracking import TrackingError

    try:
        found = listing.search(where=where, sort=sort, most=most)
    except (ValueError, TrackingError) as error:
        raise Mistake(str(error)) from None
    if as_json:
        for training in found:
            click.echo(json.dumps(asdict(training)))
    elif found:
        _table(listing.HEADS, [listing.cells(training) for training in found])
    else:
        wanted = " with " + " and ".join(where) if where else ""
        click.echo(f"no training{wanted} is in MLflow; `make repro` makes some", err=True)


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
