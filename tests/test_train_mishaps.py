"""What can go wrong around a training: it says so in a sentence and leaves nothing half-written."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlflow_server import Server
from stores import mlflow_client
from training_fixtures import (
    TINY,
    Project,
    checkpoints,
    interrupted_run,
    status_of_latest,
    steps,
    stored_run,
)

# Before the first test, since it takes ten seconds to start and the tests need it later.
pytestmark = pytest.mark.usefixtures("tracker")


def sync(project: Project, **env: str) -> tuple[int, str]:
    """`digits sync` in the project's folder: its exit status and what it says."""
    done = subprocess.run(
        [Path(sys.executable).parent / "digits", "sync"],
        cwd=project.folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


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
    remedy = "mend it" if uri.startswith("sqlite") else "start it"
    assert training.complaint() == (
        f"train: the MLflow store {uri} cannot be used: {reason}; "
        f"{remedy}, or set MLFLOW_TRACKING_URI to another"
    )
    assert training.stdout.read_text() == ""
    assert checkpoints(project) == before
    assert project.bundle("unreachable") == {}


def test_a_tracker_gone_in_mid_training_costs_no_training(
    project: Project, tracker: Server, tracker_database: str
) -> None:
    tracker.wait()
    remote = {"MLFLOW_TRACKING_URI": tracker.uri, "MLFLOW_EXPERIMENT_NAME": "elsewhere"}
    training = project.train(*TINY, "seed=5", "out=remote", **remote).reached("epoch 1/4")
    tracker.kill()
    gone_s = time.monotonic()
    assert training.ended() == 0, training.said()
    assert time.monotonic() - gone_s < 60
    run_id = project.run_id("remote")
    assert training.complaint() == (
        f"the MLflow store {tracker.uri} cannot be used: [Errno 111] Connection refused; going on "
        f"without it: what it misses is kept in unsent/{run_id}, `digits sync` sends it when the "
        "store is back"
    )
    last = training.stdout.read_text().splitlines()[-1]
    assert last.endswith(f"remote/bundle, run {run_id}, which `digits sync` completes")
    assert stored_run(project, run_id, tracker_database).info.status == "RUNNING"

    status, said = sync(project, **remote)
    assert (status, said) == (
        2,
        f"Error: the MLflow store {tracker.uri} cannot be used: [Errno 111] Connection refused; "
        "start it, or set MLFLOW_TRACKING_URI to another; all is kept\n",
    )
    tracker.start()
    tracker.wait()
    status, said = sync(project, **remote)
    assert status == 0, said
    assert re.fullmatch(
        rf"run {run_id}: sent \d+ metrics, 1 tags, \d+ files, 1 model; it is FINISHED\n", said
    ), said
    run = stored_run(project, run_id, tracker_database)
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time < 60_000  # when it ended, not when it was sent
    assert steps(project, run_id, tracker_database) == [1, 2, 3, 4]
    assert "validation images" in run.data.tags["mlflow.note.content"]
    assert json.loads((project.folder / "remote/run.json").read_text())["experiment"] == "elsewhere"
    # Through the server, as whoever looks at the run.
    client = mlflow_client(tracker.uri)
    bundle = Path(client.download_artifacts(run_id, "bundle", str(project.folder)))
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == project.bundle("remote")
    artifacts = {entry.path for entry in client.list_artifacts(run_id)}
    assert {"architecture.txt", "bundle", "learning_curves.png", "samples.png"} <= artifacts
    (output,) = run.outputs.model_outputs
    assert client.get_logged_model(output.model_id).status == "READY"

    assert sync(project, **remote) == (0, "nothing is kept in unsent/: MLflow has it all\n")


def test_a_training_that_was_stopped_without_its_server_goes_on_with_it(
    project: Project, tracker: Server, tracker_database: str
) -> None:
    before = checkpoints(project)
    tracker.wait()
    remote = {"MLFLOW_TRACKING_URI": tracker.uri, "MLFLOW_EXPERIMENT_NAME": "elsewhere"}
    training = project.train(*TINY, "seed=6", "out=stopped", **remote).reached("epoch 1/4")
    tracker.kill()
    training.reached("epoch 2/4").signalled(signal.SIGKILL)
    (kept,) = (project.folder / "unsent").glob("*/calls.json")
    run_id = interrupted_run(project, before)
    tracker.start()
    tracker.wait()
    again = project.train(*TINY, "seed=6", "out=stopped", **remote)
    assert again.ended() == 0, again.said()
    assert "cnn: going on after epoch" in again.said()
    assert project.run_id("stopped") == run_id
    assert stored_run(project, run_id, tracker_database).info.status == "FINISHED"
    assert steps(project, run_id, tracker_database) == [1, 2, 3, 4]
    assert kept.parent.name == run_id
    assert not kept.exists()
