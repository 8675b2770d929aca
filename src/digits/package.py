"""Make the Bento of the champion: `python -m digits.package`.

Reads the champion (`champion/`: bundle, test metrics, and test images for the page), and the
candidates' bundles (`models/NAME/bundle/`), for the page to compare it with: the challenger, too,
when the champion kept its place. Writes the served folder, which DVC tracks because it is stable
byte for byte; a .bento file is not. Then puts the model into BentoML's model store and builds the
Bento from `bentofile.yaml`.
"""

import argparse
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from packaging.requirements import Requirement

from .alone import alone
from .files import read_json, replacing_folder, write_json
from .reading.packaged import BUNDLE_FILES, SERVED, content_tag
from .reading.predictor import Predictor
from .settings import load_params
from .stopping import explained

# Read before BentoML is imported: packaging is no reason to call another host.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml
from bentoml.exceptions import BentoMLException

from .serving.served import stored_tag

CHALLENGER = "challenger"  # beside a champion of the same name
# What `run` raises where something is missing, damaged, or cannot be built.
FAILURES = (OSError, ValueError, metadata.PackageNotFoundError, BentoMLException)
FROM_TRAINING = ("data_digest", "dataset", "fallback")


def run(
    *, champion: Path, selected: Path, models: Path, reports: Path, compare: Sequence[str] = ()
) -> str:
    """Package the champion and return the Bento's tag; run in the project's root.

    Beside it the candidates of the selection, and the models in `compare`. Raises FileNotFoundError
    or ValueError when what an earlier stage wrote is missing or damaged, and BentoMLException when
    the Bento cannot be built.
    """
    about = champion / "champion.json"
    crowned = read_json(about, stage="gate")
    bundle = champion / "bundle"
    origin = {key: _entry(crowned, key, about) for key in ("version", "run_id", "git_commit")}
    lineage = {**_lineage(bundle, origin), "metrics": _entry(crowned, "metrics", about)}
    samples = read_json(champion / "samples.json", stage="gate")
    # A champion from before they were kept has none.
    detailed = champion / "details.json"
    details = read_json(detailed, stage="gate") if detailed.exists() else {}
    selection = read_json(selected, stage="select")
    names = {candidate["name"] for candidate in _entry(selection, "candidates", selected)}
    others: dict[Path, dict[str, Any]] = {}
    for name in sorted({*names, *compare}):
        if not (models / name / "run.json").exists():
            raise FileNotFoundError(
                f"{models / name} is missing, a candidate or named by `compare` in params.yaml; "
                f"`dvc repro` or `python -m digits.train model=… out={models / name}` makes it"
            )
        other = _of_another(name, models=models, reports=reports)
        if other["run_id"] == lineage["run_id"]:
            continue
        if name == lineage["name"]:  # trained anew, and not better
            other["name"] = f"{name}-{CHALLENGER}"
        others[models / name / "bundle"] = other
    classes = Predictor.open(bundle).classes
    for path, other in list(others.items()):
        if Predictor.open(path).classes == classes:
            continue
        if path.parent.name in compare:
            raise ValueError(f"{path} knows other classes than {bundle}: they cannot be compared")
        print(f"package: {other['name']} is left out, it knows other classes than the champion")
        del others[path]
    assemble(
        bundle=bundle,
        lineage=lineage,
        samples=samples,
        details=details,
        served=SERVED,
        others=others,
    )
    stored_tag(SERVED)
    bento = bentoml.bentos.build_bentofile()
    return str(bento.tag)


def _lineage(bundle: Path, origin: dict[str, Any]) -> dict[str, Any]:
    """Where a model comes from; a bundle that cannot answer is refused here."""
    predictor = Predictor.open(bundle)
    _check_runs(predictor, bundle)
    trained = _entry(predictor.meta, "lineage", bundle / "model.json")
    of_data = {key: _entry(trained, key, bundle / "model.json") for key in FROM_TRAINING}
    return {"name": predictor.meta["name"], **origin, **of_data}


def _of_another(name: str, *, models: Path, reports: Path) -> dict[str, Any]:
    """The lineage of a model that is not the selected one: no version, and metrics if any."""
    path = models / name / "run.json"
    run_facts = read_json(path, stage=f"train@{name}")
    origin = {key: _entry(run_facts, key, path) for key in ("run_id", "git_commit")}
    evaluated = reports / name / "metrics.json"
    metrics = read_json(evaluated, stage="evaluate") if evaluated.exists() else {}
    lineage = _lineage(models / name / "bundle", {"version": None, **origin})
    return {**lineage, "name": name, "metrics": metrics}


def assemble(
    *,
    bundle: Path,
    lineage: dict[str, Any],
    samples: Any,
    details: dict[str, Any],
    served: Path,
    others: Mapping[Path, dict[str, Any]] | None = None,
) -> None:
    """Write the served folder from a bundle, its lineage, scores and samples, whole or not at all.

    `others` are more bundles, with the lineage of each.
    """
    with replacing_folder(served) as folder:
        for name in BUNDLE_FILES:
            shutil.copyfile(bundle / name, folder / name)
        for other, of_other in (others or {}).items():
            beside = folder / "others" / of_other["name"]
            beside.mkdir(parents=True)
            for name in BUNDLE_FILES:
                shutil.copyfile(other / name, beside / name)
            tagged = {"tag": content_tag(beside, of_other), **of_other}
            write_json(beside / "lineage.json", tagged)
        tagged = {"tag": content_tag(folder, lineage), **lineage}
        contents = {"lineage": tagged, "details": details, "samples": samples}
        for file_name, content in contents.items():
            write_json(folder / f"{file_name}.json", content)
        pins = "".join(f"{pin}\n" for pin in pinned_requirements("digits"))
        (folder / "requirements.txt").write_text(pins, encoding="utf-8")


def pinned_requirements(distribution: str) -> list[str]:
    """What a distribution needs, directly or not, each at the installed version, sorted.

    Without extras, for this platform, and without BentoML, which adds itself to every Bento.
    """
    pins: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(distribution, "")]
    while queue:
        name, extra = queue.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            found = metadata.distribution(requirement.name)
            pins[found.name.lower().replace("_", "-")] = found.version
            queue += [(requirement.name, wanted) for wanted in ("", *requirement.extras)]
    pins.pop("bentoml", None)
    return sorted(f"{name}=={version}" for name, version in pins.items())


def _check_runs(predictor: Predictor, bundle: Path) -> None:
    """A bundle that cannot answer is refused here rather than by the service."""
    size, num_classes = predictor.image_size, len(predictor.classes)
    probabilities = predictor.probabilities(np.zeros((2, size, size), np.uint8))
    if probabilities.shape != (2, num_classes) or not np.isfinite(probabilities).all():
        raise ValueError(
            f"{bundle} answers two frames with shape {probabilities.shape}, not finite numbers "
            f"of shape (2, {num_classes}); train again with `dvc repro`"
        )


def _entry(content: dict[str, Any], key: str, path: Path) -> Any:
    if key not in content:
        raise ValueError(f"{path} has no {key!r}, only {sorted(content)}")
    return content[key]


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the Bento of the champion.")
    parser.add_argument("--champion", type=Path, default=Path("champion"))
    parser.add_argument("--selected", type=Path, default=Path("reports/selected.json"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    options = parser.parse_args()
    with explained("package", *FAILURES):
        compare = load_params().compare
        with alone():
            tag = run(
                champion=options.champion,
                selected=options.selected,
                models=options.models,
                reports=options.reports,
                compare=compare,
            )
    model = read_json(SERVED / "lineage.json", stage="package")
    version = f", version {model['version']}" if model["version"] else ", not registered in MLflow"
    print(f"packaged {model['name']}{version}")
    print(f"  as model    {model['tag']}, in the Bento {tag}")
    print(f"  serve it:   make serve    (or, from anywhere: bentoml serve {tag})")
    print(f"  export it:  bentoml export {tag} digits.bento")


if __name__ == "__main__":
    main()
