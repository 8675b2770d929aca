"""Whether a model may replace the champion: better on the same images, and nothing suffers."""

from dataclasses import dataclass

from digits.paired import Paired
from digits.settings import Gate

ACCURACIES = ("worst_class", "mean_corrupted_accuracy", "wild_accuracy")  # more is better
# What the guards are called, and how their values are written.
GUARDED = {
    "worst_class": "the recall of the worst class",
    "ece": "the calibration error",
    "mean_corrupted_accuracy": "the accuracy over corruptions",
    "wild_accuracy": "the accuracy on images from outside",
    "latency_ms": "the time for one image",
    "size_bytes": "the size of model.onnx",
}
WRITTEN = dict.fromkeys(GUARDED, "{:.2%}") | {
    "latency_ms": "{:.2f} ms",
    "size_bytes": "{:,.0f} bytes",
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the guards look at of one model; None for what is not known of it."""

    worst_class: float  # recall of the class that is read worst, in [0, 1]
    ece: float  # calibration error, in [0, 1]
    mean_corrupted_accuracy: float | None
    wild_accuracy: float | None  # on labelled images from outside the data set
    latency_ms: float  # of one image
    size_bytes: int  # of model.onnx


@dataclass(frozen=True, kw_only=True)
class Guard:
    """One thing that must not get much worse."""

    name: str
    champion: float
    selected: float
    allowed: float  # the worst that would still pass
    held: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the selected model is the champion from now on, and why in one sentence."""

    promoted: bool
    reason: str
    paired: Paired | None = None  # champion first
    guards: tuple[Guard, ...] = ()


def judge(found: Paired, *, champion: Measured, selected: Measured, gate: Gate) -> Verdict:
    """Compare two models on the same images, and look at the guards.

    Promoted is what is right on more images, with a p-value of at most `gate.significance`, and
    whose guards all hold.
    """
    guards = _guards(champion, selected, gate)
    broken = [guard for guard in guards if not guard.held]
    better = found.difference > 0 and found.p_value <= gate.significance
    points = (
        f"{found.difference * 100:+.2f} points ({found.low * 100:+.2f} to {found.high * 100:+.2f}, "
        f"95 %; exact McNemar p = {found.p_value:.2g})"
    )
    if not better:
        reason = f"not shown to be better: {points}"
    elif broken:
        reason = f"better by {points}, but {'; '.join(map(_said, broken))}"
    else:
        reason = f"better by {points}, and every guard holds"
    known = {guard.name for guard in guards}
    if unknown := [GUARDED[name] for name in GUARDED if name not in known]:
        reason += f"; not known of both, and so not compared: {', '.join(unknown)}"
    return Verdict(
        promoted=better and not broken, reason=reason, paired=found, guards=tuple(guards)
    )


def _guards(champion: Measured, selected: Measured, gate: Gate) -> list[Guard]:
    """Those of which both models' values are known."""
    # Accuracies may fall and errors may rise by so much; what is measured in times, by a factor.
    allowed = {
        "worst_class": champion.worst_class - gate.worst_class,
        "ece": champion.ece + gate.ece,
        "mean_corrupted_accuracy": _less(
            champion.mean_corrupted_accuracy, gate.mean_corrupted_accuracy
        ),
        "wild_accuracy": _less(champion.wild_accuracy, gate.wild_accuracy),
        "latency_ms": champion.latency_ms * gate.latency,
        "size_bytes": champion.size_bytes * gate.size,
    }
    guards = []
    for name, bound in allowed.items():
        before, after = getattr(champion, name), getattr(selected, name)
        if bound is None or after is None:
            continue
        held = after >= bound if name in ACCURACIES else after <= bound
        guards.append(
            Guard(name=name, champion=before, selected=after, allowed=round(bound, 6), held=held)
        )
    return guards


def _said(guard: Guard) -> str:
    style = WRITTEN[guard.name]
    values = (style.format(value) for value in (guard.selected, guard.champion, guard.allowed))
    return "{} is {}, the champion's {}, at worst {} is allowed".format(
        GUARDED[guard.name], *values
    )


def _less(value: float | None, margin: float) -> float | None:
    return None if value is None else value - margin
