"""What MLflow could not be told: nothing of it is lost, and nothing is told twice."""

import json
import math
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from mlflow.tracking import MlflowClient

from digits import evaluate, selection
from digits.commands import main
from digits.runs import reachable, recording, registry, tracking, unsent
from drawn import drawn_set
from serving_fixtures import write_bundle
from stores import new_store
from training_fixtures import forked

pytestmark = [
    # MLflow's SQL store uses what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    # MLflow's own code, as it loads.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred"),
]
NOWHERE = "http://127.0.0.1:9"
TRAINED = {"bundle/model.onnx", "bundle/model.json", "samples.png", "note.txt"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a store that is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    address = new_store(tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


class Failing(BaseHTTPRequestHandler):
    """A server that is there and of no use."""

    def do_GET(self) -> None:
        self.send_error(500, "out of memory")

    do_POST = do_PATCH = do_PUT = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def gone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that is of no use: nobody there, errors, or no answer at all."""
    how = getattr(request, "param", "nobody")
    if how == "nobody":
        yield NOWHERE
    elif how == "errors":
        with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
            threading.Thread(target=server.serve_forever).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
    else:
        monkeypatch.setattr(reachable, "TIMEOUT_S", 0.5)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and says nothing
            yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@pytest.fixture
def lost(store: str, gone: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The run of a training whose store went away after its first epoch, and is back."""
    bundle = Path("models/tiny/bundle")
    write_bundle(bundle, seed=1)
    with recording.run(name="tiny seed=1", tags={"model": "tiny"}) as run:
        run.log_metrics({"val_accuracy": 0.5, "val_loss": 2.0}, step=1)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", gone)
        run.log_metrics({"val_accuracy": 0.75, "val_loss": math.nan}, step=2)
        run.describe("as trained")
        run.log_files(bundle, "bundle")
        run.log_text("Ω", "note.txt")
        run.log_image(np.zeros((2, 3), np.uint8), "samples.png")
        run.log_model(bundle, ["onnxruntime"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    origin = {"run_id": run.run_id, "git_commit": "abc", "train_s": 1.0, "trainer": "cpu"}
    (bundle.parent / "run.json").write_text(json.dumps(origin))
    meta = json.loads((bundle / "model.json").read_text()) | {"num_parameters": 7840}
    (bundle / "model.json").write_text(json.dumps(meta))
    return run.run_id


def sync() -> tuple[int, str]:
    """The exit status of `digits sync`, and what it says."""
    done = CliRunner().invoke(main, ["sync"])
    return done.exit_code, done.output


def artifacts(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    found = client.list_artifacts(run_id, folder)
    below = [artifacts(client, run_id, entry.path) for entry in found if entry.is_dir]
    return {entry.path for entry in found if not entry.is_dir}.union(*below)


def logged(run_id: str) -> dict[str, Any]:
    """All that the store has of a run, but the times."""
    client = tracking.client()
    run = client.get_run(run_id)
    names = ("val_accuracy", "val_loss")
    history = {name: client.get_metric_history(run_id, name) for name in names}
    return {
        "metrics": {
            name: [(point.step, str(point.value)) for point in points]
            for name, points in history.items()
        },
        "note": run.data.tags[tracking.NOTE],
        "artifacts": artifacts(client, run_id),
        "status": run.info.status,
        "ended": run.info.end_time,
        "models": [output.model_id for output in run.outputs.model_outputs],
    }


def expect_whole(found: dict[str, Any]) -> None:
    assert found["metrics"] == {
        "val_accuracy": [(1, "0.5"), (2, "0.75")],
        "val_loss": [(1, "2.0"), (2, "nan")],
    }
    assert found["note"] == "as trained"
    assert found["artifacts"] == TRAINED
    assert found["status"] == "FINISHED"


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ("nobody", "[Errno 111] Connection refused"),
        ("errors", "too many 500 error responses"),
        ("silence", "timed out"),
    ],
    indirect=["gone"],
)
def test_what_a_training_could_not_log_is_sent_in_one_line(
    capsys: pytest.CaptureFixture[str], lost: str, gone: str, reason: str
) -> None:
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"the MLflow store {gone} cannot be used: ")
    assert reason in line
    assert line.endswith(
        f"going on without it: what it misses is kept in unsent/{lost}, `digits sync` sends it "
        "when the store is back"
    )
    assert sync() == (
        0,
        f"run {lost}: sent 2 metrics, 1 tags, 4 files, 1 model; it is FINISHED\n",
    )
    expect_whole(logged(lost))
    client = tracking.client()
    text = Path(client.download_artifacts(lost, "note.txt")).read_text(encoding="utf-8")
    assert text == "Ω"
    assert [path.name for path in unsent.FOLDER.iterdir()] == [".lock"]
    assert sync() == (0, "nothing is kept in unsent/: MLflow has it all\n")


def test_what_was_sent_already_is_not_there_twice(lost: str) -> None:
    # As a kill leaves it that came when all was sent and nothing was removed yet.
    shutil.copytree(unsent.FOLDER / lost, "copy")
    assert sync()[0] == 0
    once = logged(lost)
    shutil.copytree("copy", unsent.FOLDER / lost)
    assert sync()[0] == 0
    assert logged(lost) == once
    expect_whole(once)


def test_sending_may_be_killed_at_any_time_and_begun_again(forkserver: None, lost: str) -> None:
    for seen in ("bundle", "samples.png"):
        process = forked.Process(target=unsent.send, args=(lost,))
        process.start()
        while process.is_alive() and not list(Path("mlartifacts").glob(f"{lost}/artifacts/{seen}")):
            time.sleep(0.001)
        process.kill()
        process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    status, said = sync()
    assert status == 0, said
    expect_whole(logged(lost))
    assert registry.register(lost, reason="selected") == 1


def test_a_model_that_was_left_half_logged_is_not_the_one_that_is_registered(lost: str) -> None:
    from mlflow.entities import LoggedModelOutput

    client = tracking.client()
    experiment = client.get_run(lost).info.experiment_id
    half = client.create_logged_model(experiment, name="model", source_run_id=lost)
    client.log_outputs(lost, [LoggedModelOutput(half.model_id, step=0)])
    with pytest.raises(ValueError, match=r"logged no model; train it again"):
        registry.register(lost, reason="too early")
    assert sync()[0] == 0
    number = registry.register(lost, reason="selected")
    assert client.get_model_version(registry.MODEL, str(number)).model_id not in ("", half.model_id)


def test_a_store_that_is_away_or_another_is_told_of_and_all_is_kept(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = (unsent.FOLDER / lost / "calls.json").read_text()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    assert sync() == (
        2,
        f"Error: the MLflow store {NOWHERE} cannot be used: [Errno 111] Connection refused; "
        "start it, or set MLFLOW_TRACKING_URI to another; all is kept\n",
    )
    other = new_store(tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    assert sync() == (
        2,
        f"Error: {other} has no run {lost}; set MLFLOW_TRACKING_URI to the store that has, or "
        "remove unsent/RUN\n",
    )
    assert (unsent.FOLDER / lost / "calls.json").read_text() == kept


def test_a_store_that_is_back_before_the_end_is_sent_all_at_once(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with recording.run(name="tiny", tags={}) as run:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        run.log_metrics({"val_accuracy": 0.75}, step=1)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"the MLflow store is back; run {run.run_id}: sent 1 metrics; it is FINISHED"
    )
    assert not unsent.runs()
    found = tracking.client().get_run(run.run_id)
    assert (found.info.status, found.data.metrics["val_accuracy"]) == ("FINISHED", 0.75)


def test_a_store_that_is_back_but_another_is_not_said_to_be_back(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with recording.run(name="tiny", tags={}) as run:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        run.log_metrics({"val_accuracy": 0.75}, step=1)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "other.db"))
    (line,) = capsys.readouterr().err.splitlines()
    assert "going on without it" in line
    assert unsent.runs() == [run.run_id]


def test_a_run_that_cannot_be_sent_does_not_keep_the_others(store: str) -> None:
    client = tracking.client()
    refused, sent = (client.create_run("0").info.run_id for _ in range(2))
    unsent.keep(refused, "set_tag", key="k" * 1_000, value="longer than MLflow takes")
    unsent.keep(sent, "end", status="FINISHED", at_ms=1_000)
    status, said = sync()
    assert status == 2
    first, second = said.splitlines()
    assert first == f"run {sent}: sent how it ended; it is FINISHED"
    assert second.startswith(f"Error: run {refused} cannot be sent and is kept: ")
    assert "exceeds the maximum length" in second
    assert unsent.runs() == [refused]


def test_the_stages_after_a_training_cope_without_its_store_and_select_sends_what_is_kept(
    lost: str, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images_NHW, labels_N = drawn_set(20, seed=3)
    np.savez("test.npz", images=images_NHW, labels=labels_N)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    tiny, report = Path("models/tiny"), Path("reports/tiny")
    evaluate.run(model=tiny, test=Path("test.npz"), report=report)
    assert "going on without it" in capsys.readouterr().err
    assert (report / "metrics.json").exists()

    choice: dict[str, Any] = {
        "candidates": ("tiny",),
        "models": Path("models"),
        "out": Path("reports/selected.json"),
    }
    with pytest.raises(tracking.TrackingError):
        selection.run(**choice)
    assert not choice["out"].exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert selection.run(**choice)["version"] == 1
    assert f"select: run {lost}: sent " in capsys.readouterr().out
    found = logged(lost)
    # What was said last is what the run's page says.
    assert "test images" in found["note"]
    assert TRAINED | {"metrics.json", "mistakes.png", "model_card.md"} < found["artifacts"]
    assert found["status"] == "FINISHED"
