"""Let the selected model take the champion's place, if it is better: `python -m digits.gate`.

Reads the selection, the model's bundle and scores, the test images, and the champion in champion/.
Both models answer the same test images; what must hold is in params.yaml under `gate`. The test
images, because the champion may have learnt from today's validation images, or been chosen on them;
no model is chosen here, only kept out. Writes champion/, with the verdict and its reasons, and says
both in MLflow: the aliases `champion` and `challenger`, and tags of the version. The stage succeeds
either way.
"""

import argparse
from pathlib import Path
from typing import Any

from digits import champion, measuring, paired, settings, stopping
from digits.alone import alone
from digits.files import md5, read_json
from digits.judging import Verdict, judge
from digits.reading.predictor import Predictor
from digits.runs import history, registry, tracking

SAME = "the champion byte for byte, trained again"
OVERRULED = "a person put another in its place"
UNREGISTERED = "MLflow, which has a champion,"
STAND_IN = "trained on a stand-in, and the champion was not"


def run(
    *, selected: Path, models: Path, reports: Path, test: Path, gate: settings.Gate
) -> dict[str, Any]:
    """Judge the selected model; return the verdict, as written.

    Raises FileNotFoundError or ValueError when what an earlier stage wrote is missing or damaged,
    TrackingError when MLflow cannot be reached.
    """
    if champion.PENDING.exists():
        raise ValueError(f"{champion.PENDING} is not carried out yet; `digits history` does it")
    selection = read_json(selected, stage="select")
    name = selection["model"]
    bundle = models / name / "bundle"
    lineage = read_json(bundle / "model.json", stage=f"train@{name}")["lineage"]
    # The selection is in git, and may be of another registry than this one.
    version = registry.version_of(selection["run_id"])
    ruling = champion.of_the_team()
    origin = {
        **{"name": name, "version": version},
        **{key: selection[key] for key in ("run_id", "git_commit")},
        **{"dataset": lineage["dataset"], "stand_in": lineage["fallback"]},
        "digest": champion.digest(bundle),
        "test_md5": md5(test),
        "taken_back": ruling["taken_back"] if ruling else [],
        "metrics": read_json(reports / name / "metrics.json", stage="evaluate"),
    }
    is_champion = ruling is not None and ruling["run_id"] == origin["run_id"]
    verdict = (
        Verdict(promoted=True, reason="it was chosen again, and stays")
        if is_champion
        else _judge(bundle, origin, ruling, test=test, gate=gate)
    )
    content = champion.described(verdict, selected=origin, champion=ruling)
    # How it became champion stays on record, unless another was kept out since.
    before = champion.read_verdict() if is_champion else {}
    kept = before if (before.get("selected") or {}).get("run_id") == origin["run_id"] else content
    if verdict.promoted:
        details, samples = (
            read_json(reports / name / f"{each}.json", stage="evaluate")
            for each in ("details", "samples")
        )
        champion.crown(bundle, origin=origin, details=details, samples=samples, verdict=kept)
    else:
        champion.record(content)
    if version is not None:
        reason = None if is_champion else verdict.reason
        registry.judged(version, promoted=verdict.promoted, reason=reason)
        if verdict.promoted:
            found = verdict.paired
            compared = paired.in_words(found, significance=gate.significance) if found else ""
            _remember(version, ruling, why=kept["reason"], compared=compared)
    return content


def _remember(version: int, ruling: dict[str, Any] | None, *, why: str, compared: str) -> None:
    """Note in the history who became champion, unless it says so already."""
    entries = history.read()
    if not entries or entries[-1].version != version:
        earlier = ruling["version"] if ruling and ruling["version"] != version else None
        instead_of = entries[-1].version if entries else earlier
        what = "again" if why == SAME else "gate"
        history.add(
            history.new(
                what=what, version=version, instead_of=instead_of, why=why, compared=compared
            )
        )


def _judge(
    bundle: Path,
    origin: dict[str, Any],
    ruling: dict[str, Any] | None,
    *,
    test: Path,
    gate: settings.Gate,
) -> Verdict:
    """What needs no comparison, and else the comparison."""
    if ruling is None:
        return Verdict(promoted=True, reason="there was no champion")
    if origin["version"] is None and registry.champion():
        return Verdict(promoted=False, reason=_unregistered(origin))
    if origin["digest"] in ruling["taken_back"]:
        return Verdict(promoted=False, reason=OVERRULED + _way_back(origin))
    if origin["stand_in"] and not ruling["stand_in"]:
        return Verdict(promoted=False, reason=STAND_IN + _way_back(origin))
    if ruling["digest"] == origin["digest"]:
        return Verdict(promoted=True, reason=SAME)
    before, after = Predictor.open(champion.BUNDLE), Predictor.open(bundle)
    if before.classes != after.classes:
        return Verdict(promoted=True, reason="the one before knows other classes")
    reads = [
        f"{about['dataset']} of {model.image_size}x{model.image_size} pixels"
        for about, model in ((ruling, before), (origin, after))
    ]
    if reads[0] != reads[1]:
        reason = f"the one before reads {reads[0]}, this one {reads[1]}"
        return Verdict(promoted=True, reason=reason)
    if ruling["test_md5"] not in (None, origin["test_md5"]):
        # It may have learnt from what is tested on now.
        return Verdict(promoted=True, reason="the one before is of other test images")
    found, of_champion, of_selected = measuring.compare(
        (before, after),
        bundles=(champion.BUNDLE, bundle),
        metrics=(ruling["metrics"], origin["metrics"]),
        test=test,
        wild=gate.wild,
    )
    return judge(found, champion=of_champion, selected=of_selected, gate=gate)


def _unregistered(origin: dict[str, Any]) -> str:
    """Why one that has no version may not replace MLflow's champion, and what gives it one.

    The alias and the history would stay behind, and a rollback would have nothing to undo.
    """
    if tracking.exists(origin["run_id"]):
        return f"{UNREGISTERED} has no version of this model; `dvc repro -sf select gate` makes one"
    again = f"`dvc repro -sf train@{origin['name']}` and then `make repro`"
    return f"{UNREGISTERED} does not know this model's run; {again} train it here"


def _way_back(origin: dict[str, Any]) -> str:
    """How a person makes it champion all the same; nothing of one that no registry knows."""
    version = origin["version"]
    return f'; `digits promote v{version} --because "..."` makes it champion' if version else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--selected", type=Path, default=Path("reports/selected.json"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    parser.add_argument("--test", type=Path, required=True)
    options = parser.parse_args()
    with stopping.explained("gate", tracking.TrackingError):
        tracking.check_reachable()
        with alone():
            content = run(
                selected=options.selected,
                models=options.models,
                reports=options.reports,
                test=options.test,
                gate=settings.load_params().gate,
            )
    became = "is the champion" if content["promoted"] else "stays a challenger"
    print(f"{content['selected']['name']} {became}: {content['reason']}")


if __name__ == "__main__":
    main()
