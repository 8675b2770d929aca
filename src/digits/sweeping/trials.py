"""The trials of a study: asked for, told of, and given back where nobody trains them any more."""

import contextlib
import math
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from digits.sweeping.studies import patiently

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

WORKER = "worker"  # of a trial: the process that trains it
CLAIMED_S = 10.0  # after which a trial without a worker is nobody's
SWEEP = "sweep_worker"  # of a trial: the worker of the sweep in whose folder it is trained
VOID = "void"  # of a trial: it was given back, and counts as none
AGAIN = "again_for"  # of a trial: the number of one that failed, which it takes the place of


def ask(
    study: "optuna.Study",
    space: "dict[str, BaseDistribution]",
    *,
    most: int,
    in_all: int,
    sweep: str = "",
) -> "list[optuna.Trial]":
    """The next trials; fewer, or none, where the study has as many as it should."""
    trials: list[optuna.Trial] = []
    while len(trials) < most:
        trial = patiently()(study.ask, space)
        patiently()(trial.set_user_attr, WORKER, worker())
        patiently()(trial.set_user_attr, SWEEP, sweep)
        known = patiently()(study.get_trials, deepcopy=False)
        if sum(one.number <= trial.number for one in counted(known)) > in_all:
            give_back(study, trial.number, again=False)  # others have asked for the last ones
            break
        trials.append(trial)
    return trials


def counted(trials: "Sequence[FrozenTrial]") -> "list[FrozenTrial]":
    """Those of a study's trials that count: begun, not given back, and not tried again since."""
    from optuna.trial import TrialState

    replaced = {trial.user_attrs.get(AGAIN) for trial in trials}
    return [
        trial
        for trial in trials
        if VOID not in trial.user_attrs
        and trial.state != TrialState.WAITING
        and trial.number not in replaced
    ]


def try_again(study: "optuna.Study", *, sweep: str) -> None:
    """Queue what has failed in a worker's folder; of what fails again, when it is started again."""
    from optuna.trial import TrialState

    for trial in counted(patiently()(study.get_trials, deepcopy=False)):
        if trial.state == TrialState.FAIL and trial.user_attrs.get(SWEEP, sweep) == sweep:
            instead = {AGAIN: trial.number}
            patiently()(study.enqueue_trial, trial.params, user_attrs=instead)


def tell(study: "optuna.Study", trial: "optuna.Trial", value: Any) -> None:
    """What a training came to: its objectives, nothing where it was pruned, NaN where it failed."""
    from optuna.trial import TrialState

    values = list(value) if isinstance(value, (list, tuple)) else [value]
    came_to: dict[str, Any] = {"values": values}
    if value is None:
        came_to = {"state": TrialState.PRUNED}
    elif any(math.isnan(one) for one in values):
        came_to = {"state": TrialState.FAIL}
    # A database may fail just after it has noted it.
    patiently()(study.tell, trial, **came_to, skip_if_finished=True)


def give_back_stale(study: "optuna.Study", *, sweep: str | None = None) -> bool:
    """Trials of processes of this machine that were killed: to be trained, not lost.

    And those that the database gave out as it failed, and all of `sweep`, a worker in whose folder
    no other process is: that knows them after the machine was started again, too. Whether there
    were any.
    """
    stale = _stale(study, sweep=sweep)
    for number in stale:
        give_back(study, number)
    return bool(stale)


def _stale(study: "optuna.Study", *, sweep: str | None) -> set[int]:
    def running() -> "dict[int, FrozenTrial]":
        from optuna.trial import TrialState

        found = patiently()(study.get_trials, deepcopy=False, states=[TrialState.RUNNING])
        return {trial.number: trial for trial in found}

    known = running()
    nobodys = {number for number, trial in known.items() if WORKER not in trial.user_attrs}
    if nobodys:
        time.sleep(CLAIMED_S)  # whoever has just been given one says so
        nobodys -= {n for n, trial in running().items() if WORKER in trial.user_attrs}
    # What was begun by an older version has but the name of the machine.
    here, processes = {_machine(), socket.gethostname()}, _processes()
    killed = set()
    for number, trial in known.items():
        machine, _, process = trial.user_attrs.get(WORKER, "").rpartition(" ")
        if machine in here and process in processes:
            continue
        if machine in here or (sweep and trial.user_attrs.get(SWEEP) == sweep):
            killed.add(number)
    return killed | nobodys


def give_back(study: "optuna.Study", number: int, *, again: bool = True) -> None:
    """End a trial that was not trained to its end; `again` puts the same into the queue."""
    from optuna.trial import TrialState

    trial = patiently()(study.get_trials, deepcopy=False)[number]
    if trial.state.is_finished():
        return
    # Its storage, since a trial of another process has no handle here.
    patiently()(study._storage.set_trial_user_attr, trial._trial_id, VOID, True)
    # Queued first: a kill in between would lose it. One without a worker may have but its wishes.
    params = trial.params or trial.system_attrs.get("fixed_params")
    if again and params:
        patiently()(study.enqueue_trial, params)
    patiently()(study.tell, number, state=TrialState.FAIL, skip_if_finished=True)


def worker() -> str:
    """This process, told from those of other machines and containers."""
    return f"{_machine()} {_name(psutil.Process(os.getpid()))}"


def _machine() -> str:
    """Where a process's number is that of one process: clones and containers may share a name."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # both are Linux's
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _processes() -> set[str]:
    return {_name(process) for process in psutil.process_iter(["create_time"])}


def _name(process: psutil.Process) -> str:
    """A process's number is used again; not in the same second."""
    return f"{process.pid}@{int(process.create_time())}"
