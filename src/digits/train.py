"""Train one model and write its bundle; the run is logged to MLflow as it goes.

    python -m digits.train model=cnn            one training
    python -m digits.train -m model=mlp,cnn seed=1,2,3      a sweep; see digits.sweeping
    python -m digits.train --cfg job            what would be trained, without training

Reads data/NAME/prepared/ and the configuration Hydra composes of conf/ and params.yaml; trains
(digits.training). Writes, in `out`: bundle/ (what is served), run.json (the MLflow run) and
history.csv (a line an epoch).
"""

import errno
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from digits import configuration, overrides
from digits.learning.launched import GO_ON, launched
from digits.runs import labels, unsent
from digits.runs.tracking import GivenUp, TrackingError
from digits.settings import Mistaken
from digits.sweeping import callback, place
from digits.sweeping.job import Job
from digits.sweeping.studies import StudyLost
from digits.training import follow, run

configuration.register_resolvers()  # here too, for a job in another process

# No space left, over the quota, over the largest file allowed.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a person can mend, told of in a sentence; a traceback would say no more.
FORESEEN = (ValueError, OSError, TrackingError, StudyLost, HydraException)
MISTAKES = (Mistaken, HydraException)  # of those, in what was asked for
FAILURES = (OSError, TrackingError, StudyLost)  # and in nothing that was asked for
# Whether the traceback is wanted all the same; for jobs in other processes, too.
WANTED = "DIGITS_FULL_ERROR"
# For Hydra, in a process that only follows another: no folder and no log of its own.
TRACELESS = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none")


class Stopped(BaseException):
    """A signal asked the training to stop; no `except Exception` may take it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


def job(config: DictConfig) -> float | tuple[float, ...] | None:
    """One training as Hydra starts it, here or, by a launcher, in another process.

    Returns what a sweeper wants to know of it: None of one that a search gave up, NaN of one that
    failed, which costs the others of a sweep nothing.
    """
    _listen()
    out = Path(config.out)
    part = Job(HydraConfig.get(), out=out)
    try:
        rank, _ = launched()
        if rank and "strategy" in config.trainer:
            _follow(configuration.plain(config), rank)
            return None
        part.began()
        result = part.done()
        if result is None:
            plain = configuration.plain(config)
            name = labels.run_name(plain["model"]["name"], plain["seed"], part.asked)
            label = labels.Label(name=name, tags=part.tags())
            result = run(plain, out=out, resume=config.resume, label=label, on_epoch=part.epoch)
            how = f"trained in {result['train_s']:.0f} s on {result['trainer']}"
        else:
            how = "trained already"
    except Stopped as stopped:
        print(f"train: stopped by {stopped}; {GO_ON}", file=sys.stderr)
        raise SystemExit(stopped.exit_status) from None
    except GivenUp as given_up:
        print(f"{config.model.name}: {given_up}", flush=True)
        return None
    except Exception as error:
        if part.swept:  # the others go on
            if _wants_traceback(error):
                traceback.print_exc()
            print(_told(error), file=sys.stderr, flush=True)
            part.failed(_told(error))
            return float("nan")
        if _wants_traceback(error):
            raise
        print(_told(error), file=sys.stderr)
        raise SystemExit(2 if isinstance(error, MISTAKES) else 1) from error
    left = ", which `digits sync` completes" if unsent.holds(result["run_id"]) else ""
    print(
        f"{result['name']}: {result['num_parameters']:,} parameters, as exported it reads "
        f"{result['validation']['accuracy']:.2%} of {result['validation']['num']:,} validation "
        f"images, {how}; {out / 'bundle'}, run {result['run_id']}{left}",
        flush=True,
    )
    return part.value(result)


def _wants_traceback(error: Exception) -> bool:
    """Of what nobody foresaw, and of everything where somebody asked for it."""
    return not isinstance(error, FORESEEN) or os.environ.get(WANTED) == "1"


def _told(error: Exception) -> str:
    kind = "" if isinstance(error, FORESEEN) else f"{type(error).__name__}: "
    return f"train: {kind}{_sentence(error)}"


def _follow(config: dict[str, Any], rank: int) -> None:
    try:
        follow(config)
    except RuntimeError as error:  # mostly that the process of rank 0 has ended, which says why
        raise SystemExit(f"train: the process of rank {rank} ends: {_sentence(error)}") from error


def main() -> None:
    conf = Path("conf").resolve()
    if not conf.is_dir():
        raise SystemExit(f"train: {conf} is missing; run from the project's root")
    _listen()
    # Hydra would print what its exceptions say, over many lines; here they are a sentence.
    os.environ[WANTED] = os.environ.get("HYDRA_FULL_ERROR", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        overrides.expect_known(sys.argv[1:])
        if launched()[1] > 1 and "trainer=ddp" in sys.argv and {"-m", "--multirun"} & {*sys.argv}:
            raise ValueError(
                "torchrun and srun start the processes of one training; a sweep starts those of "
                "each of its trainings by itself"
            )
        searched = any(part.startswith("hydra/sweeper=") for part in sys.argv)
        sys.argv[1:] = place.with_folder(sys.argv[1:], shared=searched)
        if launched()[0] and "trainer=ddp" in sys.argv:
            sys.argv += TRACELESS
        with callback.told_of():
            hydra.main(version_base="1.3", config_path=str(conf), config_name="train")(job)()
    except Stopped as stopped:  # before or after the training itself
        raise SystemExit(stopped.exit_status) from None
    except (*FORESEEN, OmegaConfBaseException) as error:
        if os.environ[WANTED] == "1":
            raise
        # A group's missing file is a mistake, though an OSError too.
        if isinstance(error, FAILURES) and not isinstance(error, MISTAKES):
            raise SystemExit(f"train: {_sentence(error)}") from None
        print(f"train: {overrides.explained(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    finally:
        callback.close_what_was_stopped()
        place.leave_nothing()
    if complaints := callback.complaints():
        raise SystemExit("\n".join(f"train: {complaint}" for complaint in complaints))


def _listen() -> None:
    """Let a signal stop a training in a true state; only a process's first thread may."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return f"the disk is full ({error.strerror}); free some space, then {GO_ON}"
    return overrides.one_line(error)


if __name__ == "__main__":
    # By its own name, so that a launcher can hand its job to other processes.
    import digits.train

    digits.train.main()
