"""Make the Bento of the selected model: `python -m digits.package`.

Reads the selection (`reports/selected.json`), the selected model's bundle (`models/NAME/bundle/`),
its test metrics (`reports/NAME/metrics.json`) and test images for the page
(`reports/NAME/samples.json`). Writes the served
folder, which DVC tracks because it is stable byte for byte; a .bento file is not. Then puts the
model into BentoML's model store and builds the Bento from `bentofile.yaml`.
"""

import argparse
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from packaging.requirements import Requirement

from .files import read_json, replacing_folder, write_json
from .reading.packaged import SERVED
from .reading.predictor import Predictor

# Read before BentoML is imported: packaging is no reason to call another host.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml
from bentoml.exceptions import BentoMLException

from .serving.served import BUNDLE_FILES, content_tag, stored_tag

FROM_TRAINING = ("data_digest", "dataset", "fallback")


def run(*, selected: Path, models: Path, reports: Path) -> str:
    """Package the selected model and return the Bento's tag; run in the project's root.

    Raises FileNotFoundError or ValueError when what `select`, `train` or `evaluate` wrote is
    missing or damaged, and BentoMLException when the Bento cannot be built.
    """
    selection = read_json(selected, stage="select")
    name = _entry(selection, "model", selected)
    bundle = models / name / "bundle"
    predictor = Predictor.open(bundle)
    trained = _entry(predictor.meta, "lineage", bundle / "model.json")
    _check_runs(predictor, bundle)
    lineage = {
        "name": predictor.meta["name"],
        "version": _entry(selection, "version", selected),
        "run_id": _entry(selection, "run_id", selected),
        "git_commit": _entry(selection, "git_commit", selected),
        **{key: _entry(trained, key, bundle / "model.json") for key in FROM_TRAINING},
        "metrics": read_json(reports / name / "metrics.json", stage="evaluate"),
    }
    samples = read_json(reports / name / "samples.json", stage="evaluate")
    assemble(bundle=bundle, lineage=lineage, samples=samples, served=SERVED)
    stored_tag(SERVED)
    bento = bentoml.bentos.build_bentofile()
    return str(bento.tag)


def assemble(*, bundle: Path, lineage: dict[str, Any], samples: Any, served: Path) -> None:
    """Write the served folder from a bundle, its lineage and samples, whole or not at all."""
    with replacing_folder(served) as folder:
        for name in BUNDLE_FILES:
            shutil.copyfile(bundle / name, folder / name)
        tagged = {"tag": content_tag(folder, lineage), **lineage}
        for file_name, content in (("lineage.json", tagged), ("samples.json", samples)):
            write_json(folder / file_name, content)
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
    parser = argparse.ArgumentParser(description="Make the Bento of the selected model.")
    parser.add_argument("--selected", type=Path, default=Path("reports/selected.json"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    options = parser.parse_args()
    try:
        tag = run(selected=options.selected, models=options.models, reports=options.reports)
    except (OSError, ValueError, metadata.PackageNotFoundError, BentoMLException) as error:
        sys.exit(f"package: {error}")
    print(f"packaged {tag}")
    print(f"  serve it:   bentoml serve    (or, from anywhere: bentoml serve {tag})")
    print(f"  export it:  bentoml export {tag} digits.bento")


if __name__ == "__main__":
    main()
