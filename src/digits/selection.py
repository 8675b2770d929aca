"""Choose among the candidates, on validation images alone, and register the chosen one.

    python -m digits.selection --models models --out reports/selected.json

Reads params.yaml (candidates) and each candidate's bundle/model.json and run.json; a test score
is not among them, so it cannot be seen. Writes which model and why, and registers that run's model
in MLflow as `digits`. Whether it replaces the champion is the gate's to say.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from digits import settings, stopping
from digits.files import read_json, write_json
from digits.runs import registry, tracking, unsent
from digits.scores import standard_error


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is known of a model before any test image is seen."""

    name: str
    accuracy: float  # on the validation images, in [0, 1]
    num_images: int
    num_parameters: int
    run_id: str
    git_commit: str | None
    train_s: float  # the training loop alone
    trainer: str  # what it ran on
    epochs: int | None  # None of a training from before it was written down
    stand_in: bool  # trained on the fallback, because the data set could not be fetched


def run(*, candidates: tuple[str, ...], models: Path, out: Path) -> dict[str, Any]:
    """Select, write and register; return what was written.

    Raises FileNotFoundError for a candidate that is not trained, TrackingError when MLflow cannot
    be reached.
    """
    known = [read_candidate(models / name, name) for name in candidates]
    chosen, reason = choose(known)
    tracking.check_reachable()
    for candidate in known:
        if sent := unsent.send(candidate.run_id):
            print(f"select: {sent}")
    version = None
    if tracking.exists(chosen.run_id):
        version = registry.register(chosen.run_id, reason=reason)
    else:
        print(f"select: run {chosen.run_id} is not in this MLflow store, nothing is registered")
    selected = {
        "model": chosen.name,
        "version": version,
        "run_id": chosen.run_id,
        "git_commit": chosen.git_commit,
        "reason": reason,
        "candidates": [asdict(candidate) for candidate in known],
    }
    write_json(out, selected)
    return selected


def choose(candidates: list[Candidate]) -> tuple[Candidate, str]:
    """The smallest model within one standard error of the best on validation, and why.

    The one-standard-error rule of Breiman et al. 1984; ties go to the more accurate.
    """
    best = max(candidates, key=lambda candidate: (candidate.accuracy, -candidate.num_parameters))
    error = standard_error(best.accuracy, best.num_images)
    close = [candidate for candidate in candidates if candidate.accuracy >= best.accuracy - error]
    chosen = min(close, key=lambda candidate: (candidate.num_parameters, -candidate.accuracy))
    what = f"{chosen.accuracy:.2%} of {chosen.num_images:,} validation images"
    if len(candidates) == 1:
        return chosen, f"{chosen.name} is the only candidate, with {what}"
    if chosen is best:
        others = ", ".join(
            f"{candidate.name} {candidate.accuracy:.2%}"
            for candidate in candidates
            if candidate is not chosen
        )
        as_good = sum(one.accuracy == chosen.accuracy for one in candidates)
        rank = "the best" if as_good == 1 else "the smallest of the best"
        return chosen, f"{chosen.name} is {rank} on validation, with {what} ({others})"
    return chosen, (
        f"{chosen.name} has the fewest parameters ({chosen.num_parameters:,}) of the models within "
        f"one standard error ({error:.2%}) of the best, {best.name} ({best.accuracy:.2%}), "
        f"with {what}"
    )


def read_candidate(model: Path, name: str) -> Candidate:
    """Read a trained candidate's model.json and run.json.

    Raises FileNotFoundError when it is not trained, ValueError when a file is damaged.
    """
    stage = f"train@{name}"
    try:
        meta = read_json(model / "bundle" / "model.json", stage=stage)
        run_facts = read_json(model / "run.json", stage=stage)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"candidate {name!r} is not trained: {error}") from None
    try:
        return Candidate(
            name=name,
            accuracy=meta["validation"]["accuracy"],
            num_images=meta["validation"]["num"],
            num_parameters=meta["num_parameters"],
            run_id=run_facts["run_id"],
            git_commit=run_facts["git_commit"],
            train_s=run_facts["train_s"],
            trainer=run_facts["trainer"],
            epochs=run_facts.get("epochs"),
            stand_in=meta["lineage"]["fallback"],
        )
    except KeyError as error:
        raise ValueError(
            f"candidate {name!r} is damaged: it has no {error}; run `dvc repro -sf {stage}`"
        ) from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("models", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    with stopping.explained("select"):
        candidates = settings.load_params().candidates
        for name in candidates:
            settings.expect_model(name)
        try:
            selected = run(candidates=candidates, models=arguments.models, out=arguments.out)
        except tracking.TrackingError as error:
            kept = "what is trained and evaluated is kept, and `dvc repro` goes on from here"
            raise SystemExit(f"select: {error}; {kept}") from None
    version = selected["version"]
    registered = f", version {version}" if version else ""
    print(f"selected {selected['model']}{registered}: {selected['reason']}")


if __name__ == "__main__":
    main()
