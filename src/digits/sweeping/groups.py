"""What a sweep came to: its trainings in groups, the best ones, and a table of them.

Trainings that differ in nothing but their seed or fold are a group: what they reached is its mean
and standard deviation, and groups are compared, never their luckiest member.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from digits.runs.sweeps import Child
from digits.sweeping.results import Failure

REPEATS = ("seed=", "fold=")  # what makes another training of the same group
ACCURATE = {"val_accuracy": "maximize"}  # what a sweep is for that is no search
MOST_LISTED = 20  # groups in the table, and failures below it


@dataclass(frozen=True, kw_only=True)
class Group:
    """Trainings that differ in seed or fold alone: their accuracies on the validation images."""

    name: str
    run_ids: tuple[str, ...]
    accuracies: tuple[float, ...]
    num_parameters: int | None
    train_s: float | None = None  # the mean, where it is known

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
    groups = [_group(names[key], [*members.values()]) for key, members in reached.items()]
    return sorted(groups, key=lambda group: (-group.mean, group.num_parameters or 0))


def _group(name: str, members: Sequence[Child]) -> Group:
    times_s = [child.train_s for child in members if child.train_s is not None]
    return Group(
        name=name,
        run_ids=tuple(child.run_id for child in members),
        accuracies=tuple(child.val_accuracy or 0.0 for child in members),
        num_parameters=members[0].num_parameters,
        train_s=statistics.fmean(times_s) if times_s else None,
    )


def _repeat(child: Child) -> frozenset[str]:
    """Which of its group's trainings it is; a seed that was not asked for is one all the same."""
    asked = {part.partition("=")[0]: part for part in child.overrides if part.startswith(REPEATS)}
    known = {} if child.seed is None else {"seed": f"seed={child.seed}"}
    return frozenset((asked | known).values())


def best(groups: Sequence[Group], objectives: Mapping[str, str] = ACCURATE) -> list[Group]:
    """The groups that no other beats in all that is searched for; of one objective the first.

    What is not known of a group is as bad as can be.
    """
    costs = [tuple(_cost(each, *objective) for objective in objectives.items()) for each in groups]
    kept = [
        each
        for each, own in zip(groups, costs, strict=True)
        if not any(other != own and _no_worse(other, own) for other in costs)
    ]
    return kept if len(objectives) > 1 else kept[:1]


def _cost(group: Group, objective: str, direction: str) -> float:
    """What an objective is of a group, the less the better."""
    values = {
        "val_accuracy": group.mean,
        "num_parameters": group.num_parameters,
        "train_s": group.train_s,
    }
    value = values[objective]
    if value is None:
        return math.inf
    return -value if direction == "maximize" else value


def _no_worse(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(mine <= its for mine, its in zip(one, other, strict=True))


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
