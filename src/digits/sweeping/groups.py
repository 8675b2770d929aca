"""What a sweep came to: its trainings in groups, the best ones, and a table of them.

Trainings that differ in nothing but their seed or fold are a group: what they reached is its mean
and standard deviation, and groups are compared, never their luckiest member.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from digits.runs.sweeps import Child
from digits.sweeping.results import Failure

REPEATS = ("seed=", "fold=")  # what makes another training of the same group
MOST_LISTED = 20  # groups in the table, and failures below it


@dataclass(frozen=True, kw_only=True)
class Group:
    """Trainings that differ in seed or fold alone: their accuracies on the validation images."""

    name: str
    run_ids: tuple[str, ...]
    accuracies: tuple[float, ...]
    num_parameters: int | None

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation; None of one training."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def __str__(self) -> str:
        spread = "" if self.sd is None else f" ± {self.sd * 100:.2f}"
        return f"{self.mean:.2%}{spread} (n = {len(self.accuracies)})"


def group(children: Sequence[Child]) -> list[Group]:
    """The groups of the trainings that finished, the best mean first, then the smallest.

    A group is named by what not all trainings were asked for, where there is such a thing, and the
    same training counts once, however often it was trained.
    """
    asked = [
        {part for part in child.overrides if not part.startswith(REPEATS)} for child in children
    ]
    shared = set.intersection(*asked) if asked else set()
    names: dict[frozenset[str], str] = {}  # by what is asked for, in whatever order
    reached: dict[frozenset[str], dict[frozenset[str], Child]] = {}
    for child in children:
        if child.val_accuracy is not None:
            own = [part for part in child.overrides if not part.startswith(REPEATS)]
            varied = [part for part in own if part not in shared] or own
            names.setdefault(frozenset(varied), " ".join(varied) or "all")
            # The same training of another worker of the study says nothing new.
            reached.setdefault(frozenset(varied), {}).setdefault(_repeat(child), child)
    groups = [
        Group(
            name=names[asked_for],
            run_ids=tuple(child.run_id for child in members.values()),
            accuracies=tuple(child.val_accuracy or 0.0 for child in members.values()),
            num_parameters=next(iter(members.values())).num_parameters,
        )
        for asked_for, members in reached.items()
    ]
    return sorted(groups, key=lambda group: (-group.mean, group.num_parameters or 0))


def _repeat(child: Child) -> frozenset[str]:
    """Which of its group's trainings it is; a seed that was not asked for is one all the same."""
    asked = {part.partition("=")[0]: part for part in child.overrides if part.startswith(REPEATS)}
    known = {} if child.seed is None else {"seed": f"seed={child.seed}"}
    return frozenset((asked | known).values())


def best(groups: Sequence[Group], *, small_too: bool = False) -> list[Group]:
    """The group with the best mean; with `small_too`, each that is better than all smaller ones."""
    if not small_too:
        return list(groups[:1])
    kept: list[Group] = []
    for each in groups:  # from the best mean on, so only a smaller one can join
        if not kept or (each.num_parameters or 0) < (kept[-1].num_parameters or 0):
            kept.append(each)
    return kept


def reasons(failures: Sequence[Failure], children: Sequence[Child]) -> list[str]:
    """Which trainings failed and why, a line each; named by what not all were asked for."""
    asked = [{*failure.overrides} for failure in failures]
    asked += [{*child.overrides} for child in children]
    shared = set.intersection(*asked) if asked else set()
    lines = []
    for each in failures:
        varied = [part for part in each.overrides if part not in shared] or each.overrides
        lines.append(f"{' '.join(varied)}: {each.sentence.removeprefix('train: ')}")
    return lines


def summary(
    groups: Sequence[Group],
    winners: Sequence[Group],
    *,
    failures: Sequence[str] = (),
    num_given_up: int = 0,
) -> str:
    """A Markdown table of the groups, readable in a terminal too; `failures` are a line each."""
    listed = groups[:MOST_LISTED]
    rows = [("trainings", "validation accuracy", "parameters", "")]
    for each in listed:
        size = "" if each.num_parameters is None else f"{each.num_parameters:,}"
        rows.append((each.name, str(each), size, "best" if each in winners else ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    bars = [f"|{'-' * (widths[0] + 2)}|{'-' * (widths[1] + 1)}:|{'-' * (widths[2] + 1)}:|"]
    lines[1:1] = [f"{bars[0]}{'-' * (widths[3] + 2)}|"]
    rest = len(groups) - len(listed)
    notes = [f"And {rest} more below these."] if rest else []
    notes += [f"{num_given_up} given up: others were better by then."] if num_given_up else []
    if failures:
        notes += [f"{len(failures)} did not finish:"]
        notes += [f"- {line}" for line in failures[:MOST_LISTED]]
        rest = len(failures) - MOST_LISTED
        notes += [f"- and {rest} more."] if rest > 0 else []
    return "\n".join([*lines, *([""] if notes else []), *notes])
