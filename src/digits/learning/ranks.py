"""Several processes that train one model: Lightning's DDP, as `trainer=ddp` asks for it.

The process of rank 0 is the training: it alone has the MLflow run, prints, and writes files. The
others follow: they compute their rows of each batch, and end with it. On one machine rank 0 starts
them, so that a training is the same command, stage or job of a sweep whatever it runs on; on
several machines torchrun or srun start them all.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import (  # type: ignore[attr-defined]
    LightningEnvironment,
)

from digits.learning.launched import GO_ON, launched

PATIENCE_S = 10.0  # for an error to come of a process that is lost


class Place(LightningEnvironment):
    """The place of a process among those of this machine, whatever the environment says."""

    creates_processes_externally = True  # not Lightning does, but `together`
    main_address = "127.0.0.1"
    main_port = 0  # chosen when all are there

    def __init__(self, rank: int = 0, leader: Connection | None = None) -> None:
        super().__init__()
        self.rank, self.leader = rank, leader

    def local_rank(self) -> int:
        return self.rank

    def node_rank(self) -> int:
        return 0


def options(
    *,
    accelerator: str,
    place: Place | None = None,
    devices: int | str = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    **_: Any,
) -> dict[str, Any]:
    """What Lightning's Trainer is to know of the processes; `place` is a follower's.

    Raises ValueError when there are fewer GPUs, or when others were started than are asked for.
    """
    num_gpus = torch.cuda.device_count() if accelerator == "gpu" else 0
    num = max(1, num_gpus) if devices == "auto" else int(devices)
    if num_gpus and num > num_gpus:
        raise ValueError(
            f"trainer.devices={num} needs as many GPUs and torch sees {num_gpus} here; ask for "
            "fewer, or for processes of the CPU by trainer.accelerator=cpu"
        )
    started = launched()[1]
    # srun starts the one process of a job too, which may then start others.
    if ((strategy != "auto" and started > 1) or num_nodes > 1) and started != num * num_nodes:
        raise ValueError(
            f"trainer.devices={num} on trainer.num_nodes={num_nodes} are {num * num_nodes} "
            f"processes and {started} started; torchrun or srun must start all of them"
        )
    if num * num_nodes == 1:
        # Named, since Lightning would look for what SLURM says of other processes.
        return {"devices": 1, "plugins": [Place()]}
    return {
        "devices": num,
        "num_nodes": num_nodes,
        "strategy": strategy,
        "sync_batchnorm": accelerator == "gpu",  # PyTorch has none for the CPU
        "plugins": [] if started > 1 else [place or Place()],
    }


@contextlib.contextmanager
def together(trainer: pl.Trainer, follow: Callable[[Place], None]) -> Iterator[None]:
    """Let the processes of a training meet; those that are started here, on `follow`, end with it.

    Raises ValueError when one of them is lost.
    """
    if trainer.world_size == 1:
        yield
        return
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    place = trainer.strategy.cluster_environment  # type: ignore[attr-defined]
    followers: list[_Follower] = []
    over = threading.Event()
    try:
        if isinstance(place, Place) and place.leader:
            place.leader.send(place.rank)
            place.main_port = place.leader.recv()
        elif isinstance(place, Place):
            followers += [_Follower(follow, rank) for rank in range(1, trainer.world_size)]
            for follower in followers:
                follower.await_ready()
            place.main_port = _free_port()
            for follower in followers:
                follower.connection.send(place.main_port)
            threading.Thread(target=_watch, args=(followers, over), daemon=True).start()
        trainer.strategy.setup_environment()
        yield
    except RuntimeError as error:
        # Those first that have ended first: the others end because of them.
        ended = wait([follower.process.sentinel for follower in followers], timeout=1)
        for follower in followers:
            if follower.process.sentinel in ended:
                follower.check(error)
        raise
    finally:
        over.set()
        for follower in followers:
            follower.process.kill()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


class _Follower:
    """A process that this one, of rank 0, has started."""

    def __init__(self, follow: Callable[[Place], None], rank: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        place = Place(rank, theirs)
        self.process = spawn.Process(target=_follow, args=(follow, place), daemon=True)
        self.process.start()
        theirs.close()
        self._rank = rank

    def await_ready(self) -> None:
        try:
            self.connection.recv()
        except EOFError as error:
            self.check(error)
            raise

    def check(self, error: Exception) -> None:
        """Raise ValueError if this process is why the others cannot go on."""
        self.process.join(1)
        if self.process.exitcode is not None:
            raise ValueError(
                f"the process of rank {self._rank} ended with status {self.process.exitcode}; "
                f"{GO_ON}"
            ) from error


def _watch(followers: list[_Follower], over: threading.Event) -> None:
    """End this process where another is lost and it waits for that one, as NCCL does for long."""
    wait([follower.process.sentinel for follower in followers])
    if not over.wait(PATIENCE_S) and any(follower.process.exitcode for follower in followers):
        print(f"train: a process of this training is lost; {GO_ON}", file=sys.stderr, flush=True)
        os._exit(1)


def _follow(follow: Callable[[Place], None], place: Place) -> None:
    """What stops the process of rank 0 stops this one, and nothing else does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    leader = multiprocessing.parent_process()
    assert leader is not None

    def end_with(leader: BaseProcess) -> None:
        leader.join()
        os._exit(1)

    threading.Thread(target=end_with, args=(leader,), daemon=True).start()
    follow(place)


def _free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port: int = any_port.getsockname()[1]
        return port
