"""What a sweep says of a Ray cluster that does not do what is asked of it."""

from pathlib import Path
from typing import Any

import pytest
import ray

from digits.sweeping.cluster import OnRay
from training_fixtures import TINY, Project


def test_a_node_of_ray_that_does_not_see_the_project_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = FileNotFoundError(2, "No such file or directory", str(tmp_path))
    lost = ray.exceptions.RayTaskError(
        "_train", "\x1b[36mray::_train()", missing, "_train", 7, "::1"
    )

    def get(_: Any) -> None:
        raise lost.as_instanceof_cause()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "remote", lambda **_: lambda function: function)
    monkeypatch.setattr(ray, "get", get)
    with pytest.raises(ValueError, match="begin a training") as error:
        OnRay(address=None, num_cpus=1, num_gpus=0).launch([], initial_job_idx=0)
    assert str(error.value) == (
        "a node of Ray cannot begin a training: FileNotFoundError: [Errno 2] No such file or "
        f"directory: '{tmp_path}'; each needs the project at {tmp_path}, and `ray start` in the "
        "project's environment"
    )


def test_a_ray_cluster_that_is_not_there_is_said_in_one_line(project: Project) -> None:
    training = project.train(
        *("-m", "hydra/launcher=ray", "hydra.launcher.address=127.0.0.1:1", *TINY[:-1], "seed=1,2"),
    )
    assert training.ended() == 2, training.said()
    (said,) = [line for line in training.said().splitlines() if line.startswith("train: ")]
    assert said == (
        "train: no Ray cluster answers at 127.0.0.1:1; start one by `ray start --head`, or set "
        "RAY_ADDRESS to another"
    )
    assert "Traceback" not in training.said()
