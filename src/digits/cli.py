"""The command line for who reads digits: `digits predict` and `digits summary`.

What a command needs is imported when it runs, so that `--help` and a typo are answered at once.
"""

import difflib
import json
from pathlib import Path
from typing import Any

import click

from digits.files import read_json
from digits.settings import either
from digits.stopping import Mistake, expect_project

REPORTS = Path("reports")
MODELS = Path("models")
CHAMPION = Path("champion")
BUNDLES = ("served", "champion/bundle", "models/*/bundle", "released")  # where the pipeline's are
# What says where a bundle comes from, and the stage that writes it.
ORIGINS = {"lineage.json": "package", "../champion.json": "gate", "../run.json": "train"}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="digits")
def main() -> None:
    """Read handwritten digits, and see what the pipeline made."""


@main.command()
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--json", "as_json", is_flag=True, help="A line of JSON a file, as the service answers."
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="The folder of a bundle.  [default: the packaged model]",
)
@click.pass_context
def predict(
    context: click.Context, files: tuple[str, ...], as_json: bool, model: Path | None
) -> None:
    """Read the digit in each image FILE, with the packaged model.

    A FILE may be a folder, with all images below it, a pattern such as "scans/*.png", or - for an
    image on the standard input. What cannot be read is named, the others are answered all the same,
    and the exit status is 1.
    """
    from digits import inputs
    from digits.reading import reader
    from digits.reading.normalize import UnreadableImage, normalize_row, open_image
    from digits.reading.packaged import expect_whole, packaged_folder
    from digits.reading.predictor import IDENTITY, Predictor

    if model and not (model / "model.json").exists():
        raise Mistake(_no_bundle(model))
    model = model or packaged_folder()
    if not model.exists():
        expect_project("name the folder of a bundle by --model")
    try:
        predictor = Predictor.open(model)
        lineage = _origin(model, predictor.meta)
        if lineage.get("tag"):
            expect_whole(model, lineage)
    except (FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    identity = {key: lineage.get(key) for key in IDENTITY}
    if lineage.get("fallback"):
        click.secho(
            f"warning: this model was trained on {lineage['dataset']}, a stand-in; `make repro` "
            "tries to fetch the real images again",
            fg="yellow",
            err=True,
        )
    found, complaints = inputs.expand(files)
    width = max((len(click.format_filename(file)) for file in found), default=0)
    for file in inputs.progress(found):
        try:
            frames = normalize_row(open_image(inputs.read(file)), size=predictor.image_size)
        except (OSError, UnreadableImage) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            complaints.append(f"{click.format_filename(file)}: {reason}")
            continue
        (answer,) = reader.answer(predictor, [frames])
        if as_json:
            click.echo(json.dumps({"file": str(file), **answer, "model": identity}))
        else:
            click.echo(_line(file, answer, width=width))
    for complaint in complaints:
        click.echo(complaint, err=True)
    if complaints:
        context.exit(1)


def _origin(bundle: Path, meta: dict[str, Any]) -> dict[str, Any]:
    """What is known of where a bundle comes from; `meta` is its model.json.

    Where it was packaged its lineage.json says so, else what the gate that made it champion or its
    training wrote beside the folder. ValueError says that it is damaged.
    """
    known = {**meta.get("lineage", {}), "name": meta["name"]}
    for name, stage in ORIGINS.items():
        # Only beside a folder of the pipeline's making: a run.json of others says nothing of it.
        if name.startswith("..") and bundle.resolve().name != "bundle":
            continue
        path = bundle.resolve() / name
        if path.exists():
            written = read_json(path, stage=stage)
            return written if "tag" in written else known | written
    return known


def _no_bundle(model: Path) -> str:
    """A folder that is no bundle, with those nearest to it that are."""
    known = [str(path.parent) for where in BUNDLES for path in Path().glob(f"{where}/model.json")]
    near = difflib.get_close_matches(str(model), known, n=2, cutoff=0.5) or known
    there = f"; a bundle is in {either(near)}" if near else "; `make repro` makes one"
    return f"{click.format_filename(model)} is no bundle, it has no model.json{there}"


def _line(file: Path, answer: dict[str, Any], *, width: int) -> str:
    # A name that is not UTF-8 cannot be printed as it is.
    named = f"{click.format_filename(file):{width}}"
    if answer["row"]:
        digits = (f"{part['digit']}{'' if part['accepted'] else '?'}" for part in answer["row"])
        return f"{named}  {' '.join(digits)}  a row, read one by one"
    doubt = "" if answer["accepted"] else f"  not accepted: {answer['reason']}"
    # Rounded to a certainty that no model has.
    sure = ">99.9%" if answer["confidence"] >= 0.9995 else f"{answer['confidence']:6.1%}"
    return f"{named}  {answer['digit']}  {sure}{doubt}"


@main.command(short_help="Say which model was selected and how good it is.")
def summary() -> None:
    """Say which model the pipeline selected, how good it is, and what to do next."""
    try:
        selected = read_json(REPORTS / "selected.json", stage="select")
        name = selected["model"]
        metrics = read_json(REPORTS / name / "metrics.json", stage="evaluate")
        trained = read_json(MODELS / name / "run.json", stage="train")
        data = read_json(REPORTS / "data.json", stage="prepare")
        ruling = read_json(CHAMPION / "champion.json", stage="gate")
        verdict = read_json(CHAMPION / "verdict.json", stage="gate")
    except FileNotFoundError as error:  # a fresh clone has the committed reports and nothing else
        expect_project()
        missing = str(error).partition(";")[0]
        raise click.ClickException(f"{missing}; run `make repro`{_released()}") from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    version = f", version {selected['version']}" if selected["version"] else ""
    click.secho(f"\n{name}{version}", bold=True)
    click.echo(f"  chosen     {selected['reason']}")
    # A verdict on another model, as after `digits promote`, says nothing of this one.
    reason = verdict["reason"] if verdict["selected"]["run_id"] == selected["run_id"] else None
    if ruling["run_id"] == selected["run_id"]:
        click.echo(f"  champion   yes{f': {reason}' if reason else ''}")
    else:
        theirs = f", version {ruling['version']}" if ruling["version"] else ""
        which = f"{ruling['name']}{theirs}, which is served"
        told = f"; not this one: {reason}" if reason else f" ({verdict['reason']}); not this one"
        click.secho(f"  champion   {which}{told}", fg="yellow")
    click.echo(
        f"  accuracy   {metrics['accuracy']:.2%} of {metrics['num_images']:,} test images "
        f"(95 % interval {metrics['accuracy_low']:.2%} to {metrics['accuracy_high']:.2%})"
    )
    click.echo(
        f"  time       {trained['train_s']:.0f} s to train on {trained['trainer']}, "
        f"{metrics['latency_ms']:.2f} ms to read one image"
    )
    if data["fallback"]:
        click.secho(
            f"  warning    trained on {data['name']}, a stand-in: {data['requested']} could not be "
            "fetched; `make repro` tries again",
            fg="yellow",
        )
    click.echo("\nNext:")
    click.echo("  make serve    draw digits on a page, on http://127.0.0.1:3000")
    click.echo("  make ui       compare the runs, on http://127.0.0.1:5000")
    click.echo("  make sweep    train more models and seeds")


def _released() -> str:
    """What answers meanwhile, where the pipeline has made no model."""
    from digits.reading.packaged import RELEASED, packaged_folder

    path = packaged_folder() / "lineage.json"
    if path.parent != RELEASED or not path.exists():
        return ""
    lineage = read_json(path, stage="package")
    return (
        f"; until then `make serve` and `digits predict` answer with the released "
        f"{lineage['name']}, {lineage['metrics']['accuracy']:.2%} of "
        f"{lineage['metrics']['num_images']:,} test images"
    )


if __name__ == "__main__":
    main()
