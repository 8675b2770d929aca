"""Make a training that was found by hand a candidate of the pipeline: a file in conf/, a git diff.

The file says what the training differs in from the model it was made of, so that it can be read and
reviewed; and it is composed again before it stays, so that it says all of it.
"""

import ast
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from digits import configuration, settings
from digits.files import read_json, replacing
from digits.runs import finding, lineage, tracking

MODELS = settings.CONF / "model"
GROUPS = ("augment", "optimizer", "schedule", "synthetic")
# What decides a training's result; `data` and `trainer` are the pipeline's.
SECTIONS = ("model", "training", *GROUPS, "refuse", "seed", "num_folds")


@dataclass(frozen=True)
class Adopted:
    """What was written."""

    path: Path
    base: str  # the model it is made of
    differs: tuple[str, ...]  # keys
    elsewhere: tuple[str, ...]  # `trainer.KEY=VALUE` of the run that the pipeline has otherwise


def adopt(word: str, *, name: str | None = None) -> Adopted:
    """Write conf/model/NAME.yaml for the run that `word` names, and add NAME to the candidates.

    Raises ValueError where there is no such run, where it cannot be a candidate or is of other data
    than is prepared, or where the name is taken; FileNotFoundError where nothing is prepared;
    TrackingError where MLflow cannot be reached. Nothing is written then.
    """
    run = finding.find(word)
    wanted = _configuration(run)
    params = settings.load_params()
    trainer = wanted.get("trainer", {})
    _expect_candidate(run, wanted, params)
    name = name or f"{wanted['model']['name']}_{run.info.run_id[:6]}"
    _expect_name(name)
    path = MODELS / f"{name}.yaml"
    if path.exists():
        raise ValueError(f"{path} is there already; choose another name with --name")
    base = _nearest_model(wanted)
    wanted["model"]["name"] = name
    groups, differing = _changes(base, wanted)
    if not groups and set(differing) <= {"model.name"} and base in params.candidates:
        raise ValueError(
            f"{run.info.run_name!r} is what {MODELS / base}.yaml says, a candidate already: there "
            "is nothing to adopt"
        )
    with replacing(path) as beside:
        beside.write_text(_text(run, base, groups, differing), "utf-8")
    try:
        whole = configuration.compose([f"model={name}"])
        _expect_whole(run, _sections(whole), wanted)
        _add_candidate(name)
    except BaseException:
        path.unlink()
        raise
    here = _resolved(whole["trainer"]) if trainer else {}
    elsewhere = _differing({"trainer": here}, {"trainer": trainer})
    return Adopted(
        path,
        base,
        tuple(sorted(key for key in differing if key != "model.name")),
        tuple(f"{key}={value}" for key, value in sorted(elsewhere.items())),
    )


def _expect_name(name: str) -> None:
    """Raise ValueError for a name that params.yaml or a command line would not give back."""
    # YAML takes some words for no string, Hydra some more.
    if (
        not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII)
        or yaml.safe_load(name) != name
        or name.lower() in ("inf", "nan")
    ):
        raise ValueError(
            "a model's name is of the letters a to z, digits and _, begins with a letter and is "
            f"no word of YAML, such as on or null; got {name!r}"
        )


def _changes(base: str, wanted: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """What makes the wanted configuration of a model's: a group's file, and single keys."""
    plain = configuration.compose([f"model={base}"])
    chosen = {
        group: _nearest_option(group, base, wanted[group])
        for group in GROUPS
        if plain[group] != wanted[group]
    }
    overrides = [f"{group}={option}" for group, option in chosen.items()]
    start = configuration.compose([f"model={base}", *overrides])
    groups = {group: chosen[group] for group in chosen if start[group] != plain[group]}
    return groups, _differing(_sections(start), wanted)


def _expect_whole(run: Any, composed: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise ValueError where what was written does not say all that the run was trained with."""
    if composed != wanted:
        keys = sorted(_differing(composed, wanted) | _differing(wanted, composed))
        raise ValueError(
            f"the configuration of {run.info.run_name!r} cannot be written as a model of "
            f"today's conf/: {', '.join(keys)} would differ"
        )


def _resolved(trainer: dict[str, Any]) -> dict[str, Any]:
    """The pipeline's trainer with what `auto` is on this machine."""
    from digits.learning.device import choose_device

    accelerator, precision = choose_device(**trainer)
    return {**trainer, "accelerator": accelerator, "precision": precision}


def _configuration(run: Any) -> dict[str, Any]:
    """What the run was trained with, of the parameters in MLflow, by section."""
    nested: dict[str, Any] = {}
    for key, text in run.data.params.items():
        if len(text) >= tracking.LONGEST_PARAM:
            raise ValueError(f"{key} of {run.info.run_name!r} was too long for MLflow")
        *path, last = key.split(".")
        place = nested
        for part in path:
            place = place.setdefault(part, {})
        try:
            place[last] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            place[last] = text
    return nested


def _sections(config: dict[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in SECTIONS if key in config}


def _expect_candidate(run: Any, wanted: dict[str, Any], params: settings.Params) -> None:
    """Raise ValueError for a run that the pipeline could not repeat; keep of it what counts."""
    name = run.info.run_name
    if run.info.status != "FINISHED":
        raise ValueError(f"{name!r} is {run.info.status.lower()}; adopt one that finished")
    missing = [key for key in ("model", "training", *GROUPS) if key not in wanted]
    if missing:
        raise ValueError(f"{name!r} has no {missing[0]} in MLflow; it was trained by other code")
    prepared = f"data/{params.data_name}/prepared"
    if wanted["prepared"] != prepared:
        raise ValueError(
            f"{name!r} was trained on {wanted['prepared']}, the pipeline trains on {prepared}; "
            f"change data.name in {settings.PARAMS}"
        )
    if wanted["training"].get("teacher"):
        raise ValueError(
            f"{name!r} learnt from a teacher, {wanted['training']['teacher']}, which the pipeline "
            "does not make"
        )
    if wanted.get("fold") is not None:
        raise ValueError(
            f"{name!r} left out fold {wanted['fold']}; adopt one that learnt from all that the "
            "pipeline trains on"
        )
    _expect_same_data(name, wanted["data"], Path(prepared), params)
    for key in [key for key in wanted if key not in SECTIONS]:
        del wanted[key]


def _expect_same_data(
    name: str, learnt: dict[str, Any], prepared: Path, params: settings.Params
) -> None:
    """Raise ValueError for a run of other images, or of another split of them, than are prepared.

    The digest is of the images in all three splits.
    """
    asked = {"seed": params.seed, "val_size": params.val_size}
    done = {key: value for key, value in lineage.lock_params("prepare").items() if key in asked}
    for key in [key for key in done if done[key] != asked[key]]:
        raise ValueError(
            f"{settings.PARAMS} has {key}: {asked[key]} and {prepared} was made with {done[key]}; "
            "run `dvc repro prepare` first"
        )
    here = read_json(prepared / "data.json", stage="prepare")
    if learnt["digest"] != here["digest"]:

        def described(data: dict[str, Any]) -> str:
            return (
                f"{data['name']} with {data['num_train']:,} images to learn from and "
                f"{data['num_val']:,} held out ({data['digest'][:15]})"
            )

        raise ValueError(
            f"{name!r} was trained on {described(learnt)} and could not be repeated on what is in "
            f"{prepared}, {described(here)}; prepare its data first: data, val_size and seed in "
            f"{settings.PARAMS}"
        )


def _nearest_model(wanted: dict[str, Any]) -> str:
    """The model of that name in conf/, else the one that differs least."""
    if (MODELS / f"{wanted['model']['name']}.yaml").exists():
        return str(wanted["model"]["name"])
    names = sorted(path.stem for path in MODELS.glob("*.yaml"))

    def distance(name: str) -> int:
        return len(_differing(_sections(configuration.compose([f"model={name}"])), wanted))

    return min(names, key=distance)


def _nearest_option(group: str, base: str, wanted: Any) -> str:
    """The file of a group that differs least from its part of a configuration."""
    options = sorted(path.stem for path in (settings.CONF / group).glob("*.yaml"))

    def distance(option: str) -> int:
        there = configuration.compose([f"model={base}", f"{group}={option}"])[group]
        gone = _differing({group: wanted}, {group: there})
        return len(_differing({group: there}, {group: wanted}) | gone)

    return min(options, key=distance)


def _differing(there: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The keys of `wanted`, with dots, that are not the same `there`."""
    known = tracking.flatten(there)
    return {
        key: value
        for key, value in tracking.flatten(wanted).items()
        if key not in known or known[key] != value
    }


def _text(run: Any, base: str, groups: dict[str, str], differing: dict[str, Any]) -> str:
    nested: dict[str, Any] = {}
    for key, value in differing.items():
        *path, last = key.split(".")
        place = nested
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    metrics = run.data.metrics
    seconds = (run.info.end_time - run.info.start_time) / 1000
    head = [
        "# @package _global_",
        f"# Adopted from run {run.info.run_id[:8]}, {run.info.run_name!r}.",
        f"# {int(metrics['bundle/num_parameters']):,} parameters; about "
        f"{100 * metrics['bundle/val_accuracy']:.1f} % of the validation images; "
        f"about {seconds:.0f} s.",
        "defaults:",
        f"  - {base}",
        *(f"  - override /{group}: {option}" for group, option in groups.items()),
    ]
    return "\n".join(head) + "\n" + yaml.safe_dump(nested, sort_keys=False, width=96)


def _add_candidate(name: str) -> None:
    """Add a name to `candidates` in params.yaml, and change nothing else of it."""
    from ruamel.yaml import YAML

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096
    content = editor.load(settings.PARAMS.read_text(encoding="utf-8"))
    content["candidates"].append(name)
    changed = io.StringIO()
    editor.dump(content, changed)
    with replacing(settings.PARAMS) as beside:
        beside.write_text(changed.getvalue(), encoding="utf-8")
