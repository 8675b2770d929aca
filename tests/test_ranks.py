"""Several processes that train one model: what comes out, who writes it, and how they end."""

import os
import signal
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from safetensors.numpy import load, save

from digits import configuration
from digits.learning import ranks
from digits.training import read_data_facts
from stores import mlflow_client
from training_fixtures import (
    TINY,
    Project,
    Training,
    checkpoints,
    forked,
    interrupted_run,
    make_project,
    status_of_latest,
    steps,
    stored_run,
)

pytestmark = pytest.mark.cluster
# Batches, and the validation images, that two processes cannot share evenly.
# Adam's step is as large for a gradient that is nothing but rounding, so that the two would part.
# So do one process's one thread and two at three times this rate, by 7e-4; at this one by 3e-7.
GENTLE = ("optimizer=sgd", "optimizer.lr=0.001")
UNEVEN = (*TINY, *GENTLE, "training.batch_size=15", "trainer.precision=32-true")
TWO = (*UNEVEN, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, forkserver: None) -> Project:
    """A project with the same training by one process, in `one`, and by two, in `two`."""
    project = make_project(tmp_path_factory.mktemp("ranks"), num_val=101)
    for words in ((*UNEVEN, "trainer=cpu", "out=one"), (*TWO, "out=two")):
        training = project.train(*words)
        assert training.ended() == 0, training.said()
    # Two lines at the start, one an epoch, one at the end: the second process says nothing.
    lines = training.stdout.read_text().splitlines()
    assert len(lines) == 7, lines
    assert lines[0].endswith(" on 2 x cpu 32-true")
    return project


def weights(project: Project, out: str) -> dict[str, np.ndarray]:
    return load(project.bundle(out)["weights.safetensors"])


def history(project: Project, out: str) -> np.ndarray:
    """Epoch, losses, accuracy and rate of each epoch; not what took how long."""
    rows = np.loadtxt(project.folder / out / "history.csv", delimiter=",", skiprows=1)
    return rows[:, :5]


def test_two_processes_train_the_model_that_one_process_trains(both: Project) -> None:
    one, two = weights(both, "one"), weights(both, "two")
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-5)
    np.testing.assert_allclose(history(both, "two"), history(both, "one"), rtol=1e-3)


def test_the_first_process_alone_has_a_run_and_writes(both: Project) -> None:
    client = mlflow_client(both.tracking_uri)
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert sorted(run.info.run_id for run in runs) == sorted(map(both.run_id, ("one", "two")))
    assert steps(both, both.run_id("two")) == [1, 2, 3, 4]
    params = stored_run(both, both.run_id("two")).data.params
    assert (params["trainer.devices"], params["trainer.strategy"]) == ("2", "ddp")


def as_torchrun(rank: int, port: int) -> dict[str, str]:
    """What torchrun tells each of two processes."""
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1"} | {name: str(value) for name, value in places.items()}


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port: int = any_port.getsockname()[1]
        return port


def train_as(rank: int, port: int, project: Project) -> None:
    """Train as a process of that rank, and keep the weights that it ends with."""
    from digits.learning.session import Session

    os.environ.update(as_torchrun(rank, port))
    os.chdir(project.folder)
    config = configuration.compose(list(TWO))
    data = read_data_facts(Path(config["prepared"]))
    session = Session(config, data=data, scratch=Path("checkpoints/ranks"))
    session.fit(on_epoch=lambda row: None)
    trained = session._learner.trained_network().state_dict()
    weights = {name: np.ascontiguousarray(tensor) for name, tensor in trained.items()}
    Path(f"rank_{rank}.safetensors").write_bytes(save(weights))


def test_all_processes_end_with_the_same_weights(both: Project) -> None:
    port = free_port()
    processes = [forked.Process(target=train_as, args=(rank, port, both)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    ended = [(both.folder / f"rank_{rank}.safetensors").read_bytes() for rank in (0, 1)]
    assert ended[0] == ended[1]
    for name, weight in load(ended[0]).items():
        np.testing.assert_array_equal(weight, weights(both, "two")[name])


def torchrun(project: Project, *words: str) -> list[Training]:
    port = free_port()
    return [project.train(*words, **as_torchrun(rank, port)) for rank in (0, 1)]


def test_what_is_lost_or_killed_goes_on_to_the_same_bytes_whoever_starts_it(both: Project) -> None:
    before = checkpoints(both)
    words = (*TWO, "out=resumed")
    training = both.train(*words).reached("epoch 1/4")
    (follower,) = psutil.Process(training.process.pid).children()
    follower.kill()
    assert training.ended() == 1
    assert training.complaint() == (
        "train: the process of rank 1 ended with status -9; the same command goes on after the "
        "last finished epoch"
    )
    assert status_of_latest(both) == "FAILED"
    run_id = interrupted_run(both, before)

    training = both.train(*words).reached("epoch 3/4")
    (follower,) = psutil.Process(training.process.pid).children()
    training.signalled(signal.SIGKILL)
    follower.wait(20)  # it ends by itself

    first, second = torchrun(both, *words)
    assert (first.ended(), second.ended()) == (0, 0), first.said() + second.said()
    assert second.said() == ""
    assert both.run_id("resumed") == run_id
    assert steps(both, run_id) == [1, 2, 3, 4]
    assert both.bundle("resumed") == both.bundle("two")
    assert "epoch 4/4" in first.said()
    assert "epoch 3/4" not in first.said()


def test_several_are_stopped_by_a_signal_in_mid_epoch(both: Project) -> None:
    training = both.train(*TWO, "training.epochs=500", "out=stopped").reached("epoch 2/500")
    (follower,) = psutil.Process(training.process.pid).children()
    time.sleep(0.1)  # an epoch takes longer
    assert training.signalled(signal.SIGTERM) == 128 + signal.SIGTERM
    assert training.complaint() == (
        "train: stopped by SIGTERM; the same command goes on after the last finished epoch"
    )
    assert status_of_latest(both) == "KILLED"
    follower.wait(20)


def wait_for_one_that_is_lost() -> None:
    ranks.PATIENCE_S = 0.1
    lost = SimpleNamespace(process=forked.Process(target=os._exit, args=(3,)))
    lost.process.start()
    threading.Thread(target=ranks._watch, args=([lost], threading.Event())).start()
    time.sleep(180)


def test_one_that_waits_for_a_lost_one_ends() -> None:
    waiting = forked.Process(target=wait_for_one_that_is_lost)
    waiting.start()
    waiting.join(90)  # another process begins by loading what trainings need
    assert waiting.exitcode == 1


def test_a_sweep_is_not_for_torchrun(both: Project) -> None:
    for training in torchrun(both, "-m", *TWO, "seed=1,2"):
        assert training.ended() == 2
        assert "a sweep starts those of each of its trainings by itself" in training.complaint()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trainer.devices=0"], "trainer.devices must be an integer >= 1, got 0"),
        (["trainer.num_nodes=0"], "trainer.num_nodes must be an integer >= 1, got 0"),
        (["trainer.strategy=fsdp"], "trainer.strategy must be one of ddp, got 'fsdp'"),
        (
            ["trainer.num_nodes=2"],
            "trainer.devices=2 on trainer.num_nodes=2 are 4 processes and 1 started; torchrun or "
            "srun must start all of them",
        ),
        (
            ["training.batch_size=1"],
            "training.batch_size=1 is less than an image for each of 2 processes; let fewer train "
            "together",
        ),
    ],
)
def test_processes_that_cannot_be_are_refused_in_one_sentence(
    words: list[str], sentence: str, both: Project
) -> None:
    training = both.train(*TWO, *words, "out=refused")
    # A value that is wrong anywhere is a mistake; what cannot be here is a training that failed.
    assert training.ended() == (2 if " must be " in sentence else 1)
    assert training.complaint() == f"train: {sentence}"
