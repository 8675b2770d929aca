"""What can go wrong around a training: it says so in a sentence and leaves nothing half-written."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from training_fixtures import (
    TINY,
    Project,
    checkpoints,
    interrupted_run,
    status_of_latest,
    steps,
    stored_run,
)


@dataclass
class Server:
    """MLflow's own tracking server on loopback, in a process group of its own."""

    uri: str
    database: str
    process: subprocess.Popen[bytes]

    def wait(self) -> None:
        until_s = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError):
                assert time.monotonic() < until_s, "the tracking server did not start"
                time.sleep(0.1)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


# Before the first test, since it takes ten seconds to start and the tests need it later.
@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    database = f"sqlite:///{folder}/server.db"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", database]
    command += ["--no-serve-artifacts", "--default-artifact-root", f"{folder}/artifacts"]
    # Without the eight processes that wait for jobs: they take a minute and a half to be loaded.
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True)
    server = Server(f"http://127.0.0.1:{port}", database, process)
    yield server
    server.kill()


def test_a_diverged_training_says_so_leaves_the_old_bundle_and_does_not_spoil_the_next(
    trained: Project,
) -> None:
    shutil.copytree(trained.folder / "trained", trained.folder / "kept")
    before = checkpoints(trained)
    training = trained.train(*TINY, "optimizer.lr=1e30", "out=kept")
    assert training.ended() == 1
    assert training.complaint() == (
        "train: the loss is no longer a number after epoch 1 (training nan, validation nan); "
        "lower optimizer.lr, now 1e+30"
    )
    assert trained.bundle("kept") == trained.bundle("trained")
    assert status_of_latest(trained) == "FAILED"
    assert checkpoints(trained) == before

    corrected = trained.train(*TINY, "seed=3", "out=kept")
    assert corrected.ended() == 0, corrected.said()
    assert trained.bundle("kept")["model.onnx"] != trained.bundle("trained")["model.onnx"]


def test_a_second_training_of_the_same_configuration_at_the_same_time_is_refused(
    trained: Project,
) -> None:
    before = checkpoints(trained)
    first = trained.train(*TINY, "seed=5", "out=first").reached("epoch 1/4")
    first.send(signal.SIGSTOP)  # so that it is not over before the second one begins
    second = trained.train(*TINY, "seed=5", "out=second")
    try:
        assert second.ended() == 1
    finally:
        first.send(signal.SIGCONT)
    assert second.complaint().startswith("train: exactly this configuration is being trained alre")
    assert first.ended() == 0, first.said()
    assert trained.bundle("second") == {}
    assert checkpoints(trained) == before


def test_a_full_disk_while_an_epoch_is_saved_ends_the_run_as_failed(project: Project) -> None:
    before = checkpoints(project)
    training = project.train(
        "model=mlp",
        "model.network.hidden=[1000,1000]",
        "training.batch_size=64",
        "out=full",
        largest_file=8_000_000,
    )
    assert training.ended() == 1
    assert training.complaint() == (
        "train: the disk is full (File too large); free some space, then the same command goes "
        "on after the last finished epoch"
    )
    assert project.bundle("full") == {}
    assert status_of_latest(project) == "FAILED"
    # A later test must not find what could be gone on with here.
    shutil.rmtree(checkpoints(project)[interrupted_run(project, before)].parent)


def test_a_full_disk_while_the_bundle_is_written_leaves_the_old_one(trained: Project) -> None:
    shutil.copytree(trained.folder / "trained", trained.folder / "old")
    before = checkpoints(trained)
    training = trained.train(*TINY, "seed=4", "out=old").reached("epoch 4/4")
    # From now on the disk takes nothing larger than this; the ONNX file is.
    resource.prlimit(training.process.pid, resource.RLIMIT_FSIZE, (5_000, 5_000))
    assert training.ended() == 1, training.said()
    assert trained.bundle("old") == trained.bundle("trained")
    assert not list((trained.folder / "old").glob(".*"))
    # Nothing is lost: with space again, only the bundle is left to write.
    run_id = interrupted_run(trained, before)
    again = trained.train(*TINY, "seed=4", "out=old")
    assert again.ended() == 0, again.said()
    assert "epoch 4/4" not in again.said()
    assert trained.run_id("old") == run_id
    assert stored_run(trained, run_id).info.status == "FINISHED"


def test_an_output_folder_that_cannot_be_made_is_told_of_before_the_training(
    project: Project,
) -> None:
    training = project.train(*TINY, "out=params.yaml/model")
    assert training.ended() == 1
    assert training.complaint() == (
        "train: out=params.yaml/model cannot be made: Not a directory; choose another folder"
    )
    assert "epoch" not in training.said()


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://127.0.0.1:9", "[Errno 111] Connection refused"),
        ("sqlite:///params.yaml", "file is not a database"),
    ],
)
def test_a_tracking_store_that_cannot_be_used_is_told_of_at_once(
    uri: str, reason: str, project: Project
) -> None:
    before = checkpoints(project)
    started_s = time.monotonic()
    training = project.train(*TINY, "out=unreachable", MLFLOW_TRACKING_URI=uri)
    assert training.ended() == 1
    assert time.monotonic() - started_s < 10
    assert training.complaint() == (
        f"train: the MLflow store {uri} cannot be used: {reason}; "
        "start it, or set MLFLOW_TRACKING_URI to another"
    )
    assert training.stdout.read_text() == ""
    assert checkpoints(project) == before
    assert project.bundle("unreachable") == {}


def test_a_tracking_server_gone_in_mid_training_costs_no_epoch(
    project: Project, server: Server
) -> None:
    before = checkpoints(project)
    server.wait()
    remote = {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_EXPERIMENT_NAME": "elsewhere"}
    training = project.train(*TINY, "seed=5", "out=remote", **remote).reached("epoch 1/4")
    server.kill()
    gone_s = time.monotonic()
    assert training.ended() == 1
    assert time.monotonic() - gone_s < 30
    assert training.complaint() == (
        f"train: the MLflow store {server.uri} cannot be used: [Errno 111] Connection refused; "
        "start it, or set MLFLOW_TRACKING_URI to another"
    )
    assert project.bundle("remote") == {}
    num_finished = training.said().count("cnn epoch")

    # The server's own database, since a second server takes ten seconds to start.
    remote["MLFLOW_TRACKING_URI"] = server.database
    run_id = interrupted_run(project, before)
    again = project.train(*TINY, "seed=5", "out=remote", **remote)
    assert again.ended() == 0, again.said()
    said = again.stdout.read_text().splitlines()
    assert said[1] == f"cnn: going on after epoch {num_finished}"
    assert project.run_id("remote") == run_id
    assert stored_run(project, run_id, server.database).info.status == "FINISHED"
    assert steps(project, run_id, server.database) == [1, 2, 3, 4]
    assert json.loads((project.folder / "remote/run.json").read_text())["experiment"] == "elsewhere"
