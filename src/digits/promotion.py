"""Change the champion by hand, as `digits promote` and `digits rollback` do.

The champion's folder, what is packaged, and the alias in MLflow move together. What is to be done
is written down first, in champion.pending.json; a command that finds it finishes that before
anything else, so that one that was killed half way is made whole by the next.
"""

import contextlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from digits import champion
from digits.alone import alone
from digits.files import read_json, write_json
from digits.reading.predictor import Predictor
from digits.runs import comparison, finding, history, registry, tracking
from digits.settings import load_params

PENDING = champion.PENDING


@dataclass(frozen=True, kw_only=True)
class Change:
    """A champion to be: its run, what history will say, and what the gate shall leave alone."""

    run_id: str
    entry: history.Entry
    taken_back: list[str]  # digests
    asked: str = ""  # the version as it was named
    resumed: bool = False  # begun by a command that was interrupted, finished by this one


def promote(version: str, *, why: str) -> Change:
    """Make a version the champion, and the one that is served.

    `version` as `finding.find` takes it. What was interrupted is finished first, and is all that is
    done where it made the same version champion. ValueError for one that is not registered or
    cannot be served, which changes nothing; TrackingError when the store cannot be used.
    """
    with alone():
        finished = _finish()
        # An alias may have moved, or gone, with what is finished now.
        if finished and version == finished.asked:
            return finished
        run = finding.find(version)
        if finished and run.info.run_id == finished.run_id:
            return finished
        return _promote(run, asked=version, why=why, what="promote")


def _promote(run: Any, *, asked: str, why: str, what: str) -> Change:
    run_id, name = run.info.run_id, run.info.run_name
    number = registry.version_of(run_id)
    if number is None:
        raise ValueError(
            f"run {run_id[:8]} ({name}) is not registered, and so has no version: what `make "
            "repro` selects gets one"
        )
    ruling, known = champion.read(), registry.champion()
    here = ruling and (ruling["version"], ruling["run_id"])
    if here and here[1] == run_id and known in (None, here):
        raise ValueError(f"version {number} is the champion already")
    bundle = finding.bundle(run_id)
    if bundle is None:
        raise ValueError(f"version {number} has no bundle in MLflow; train it again")
    chosen = Predictor.open(bundle)  # says what is wrong with it now, while nothing has changed
    # Others may have promoted one since this checkout's: that is the one that goes.
    gone = known if known and known[1] != run_id else here
    instead_of = gone[0] if gone else None
    entry = history.new(
        what=what,
        version=number,
        instead_of=instead_of,
        why=why,
        compared=_compared(instead_of, number),
    )
    # What a person dethroned stays so until a person says otherwise: the gate would crown it again.
    # Not by a stand-in, which is there only until the real images are.
    taken_back = set(ruling["taken_back"]) if ruling else set()
    if not chosen.meta["lineage"]["fallback"] and (known is None or known[1] != run_id):
        if ruling and gone == here:
            taken_back.add(ruling["digest"])
        elif gone and (dethroned := finding.bundle(gone[1])):
            taken_back.add(champion.digest(dethroned))
    change = Change(
        run_id=run_id,
        entry=entry,
        taken_back=sorted(taken_back - {champion.digest(bundle)}),
        asked=asked,
    )
    write_json(PENDING, asdict(change))
    _carry_out(change)
    return change


def rollback(*, why: str) -> Change:
    """Make the champion before this one champion again.

    Where a rollback was interrupted, finishing it is all that is done: who asks again after it was
    killed means the same one.
    """
    with alone():
        finished = _finish()
        if finished and finished.entry.what == "rollback":
            return finished
        return _rollback(why=why)


def _rollback(*, why: str) -> Change:
    # The champion is MLflow's, also where the folder is of another commit.
    entries, gone = history.read(), set[int]()
    while (target := history.before(entries, gone=gone)) and not _kept(target):
        gone.add(target)
    if target is None:
        raise ValueError(
            "there is no champion to go back to; `digits history` lists all there were"
        )
    asked = f"v{target}"
    return _promote(finding.find(asked), asked=asked, why=why, what="rollback")


def _kept(version: int) -> bool:
    """Whether a version is registered still, and its run has its bundle."""
    run_id = registry.run_of(version)
    return run_id is not None and finding.bundle(run_id) is not None


def finish() -> Change | None:
    """Carry out what a command that was interrupted had begun; None where nothing was."""
    if not PENDING.exists():
        return None
    with alone():
        return _finish()


def _finish() -> Change | None:
    if not PENDING.exists():
        return None
    content = read_json(PENDING, stage="gate")
    change = Change(**{**content, "entry": history.Entry(**content["entry"])})
    _carry_out(change)
    return replace(change, resumed=True)


def _carry_out(change: Change) -> None:
    """Each step may be done again: the folder, the Bento, the registry, and last the note of it.

    What cannot be packaged is undone, unless the registry has moved already: then it was packaged
    when that was done. Where MLflow does not answer, the note stays for later.
    """
    tracking.check_reachable()
    entry, before = change.entry, champion.read()
    failure = None
    try:
        if not before or before["run_id"] != change.run_id:
            champion.keep()
            champion.crown_run(
                change.run_id,
                version=entry.version,
                taken_back=change.taken_back,
                why=f"{entry.what}: {entry.why}",
            )
        _package()
    except ValueError as error:
        if registry.champion() != (entry.version, change.run_id):
            champion.restore()
            with contextlib.suppress(ValueError):
                _package()
            PENDING.unlink()
            raise
        failure = error
    reason = f"{entry.what} by {entry.who}: {entry.why}"
    registry.judged(entry.version, promoted=True, reason=reason)
    history.add(entry)
    champion.forget()
    PENDING.unlink(missing_ok=True)
    if failure:
        raise failure


def _compared(before: int | None, after: int) -> str:
    """What both versions make of the same test images; or why that is not known."""
    if before is None:
        return ""
    try:
        return comparison.compare(f"v{before}", f"v{after}").verdict
    except ValueError as error:  # the run of the one before may be gone
        return f"no paired test: {error}"


def _package() -> None:
    """Make the Bento of what is in the champion's folder; ValueError where that cannot be done."""
    from digits import package

    try:
        package.run(
            champion=champion.FOLDER,
            selected=Path("reports/selected.json"),
            models=Path("models"),
            reports=Path("reports"),
            compare=load_params().compare,
        )
    except package.FAILURES as error:
        raise ValueError(f"it cannot be packaged: {error}") from error
