"""A sweep's trainings as tasks of a Ray cluster: `hydra/launcher=ray`.

Ray chooses the node of each, by the cores and GPUs it asks for, and starts it again where a node
is lost: it goes on after its last finished epoch if that node sees the same checkpoints. The nodes
see the project at the same path.

Hydra's own Ray plugin is not used: docs/decisions.md.
"""

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from digits.runs import interrupts

PATIENCE_S = 5.0  # with a cluster's first machine
LATE_S = 0.5  # what a training printed comes after its result, and before the sweep's last words
# Of the environment, by what it begins.
TAKEN_ALONG = ("DIGITS_", "MLFLOW_", "OPTUNA_", "HYDRA_", "BENTOML_")


class OnRay(Launcher):
    """Hydra's launcher that asks Ray."""

    def __init__(self, *, address: str | None, num_cpus: float, num_gpus: float) -> None:
        self._address = address
        self._wants = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        self._job: dict[str, Any] = {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._job = {"context": hydra_context, "task": task_function, "config": config}

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Train all of them; ValueError where there is no cluster, or it loses one for good."""
        import ray

        setup_globals()
        self._connect()
        train = ray.remote(**self._wants)(_train)
        taken = {key: value for key, value in os.environ.items() if key.startswith(TAKEN_ALONG)}
        place = {"folder": str(Path.cwd()), "environment": taken, "state": Singleton.get_state()}
        tasks = [
            train.remote(number, list(overrides), **self._job, **place)
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        try:
            with interrupts.as_keyboard():
                done: list[JobReturn] = ray.get(tasks)
        except ray.exceptions.RayTaskError as error:  # a training's own errors are its result
            raise ValueError(
                f"a node of Ray cannot begin a training: {_reason(error.cause)}; each needs the "
                f"project at {place['folder']}, and `ray start` in the project's environment"
            ) from error
        except ray.exceptions.RayError as error:
            raise ValueError(f"Ray has lost a training: {str(error).splitlines()[0]}") from error
        except BaseException:  # stopped: so are they
            ray.shutdown()
            raise
        time.sleep(LATE_S)
        return done

    def _connect(self) -> None:
        """Join the cluster, or begin one of this machine where no address is given."""
        import ray

        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            if self._address and ":" in self._address:
                host, _, port = self._address.removeprefix("ray://").rpartition(":")
                # Ray itself asks for minutes.
                socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
            ray.init(self._address, include_dashboard=False, logging_level="WARNING")
        except (OSError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"no Ray cluster answers at {self._address}; start one by `ray start --head`, or "
                "set RAY_ADDRESS to another"
            ) from error


def _reason(cause: BaseException) -> str:
    return " ".join([f"{type(cause).__name__}:", *str(cause).splitlines()[:1]])


def _train(
    number: int,
    overrides: list[str],
    *,
    context: HydraContext,
    task: TaskFunction,
    config: DictConfig,
    folder: str,
    environment: dict[str, str],
    state: Any,
) -> JobReturn:
    """One training, on whatever node this is."""
    os.chdir(folder)
    os.environ.update(environment)
    setup_globals()
    Singleton.set_state(state)
    own = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(own):
        own.hydra.job.id = f"{own.hydra.job.name}_{number}"
        own.hydra.job.num = number
    HydraConfig.instance().set_config(own)
    return run_job(
        task_function=task,
        config=own,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=context,
    )
