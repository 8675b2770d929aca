"""What /readyz and /livez say of a service, and whose time limit is over its requests."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import serving_fixtures
from digits.reading.predictor import IDENTITY, Predictor
from digits.serving.models import Model
from serving_fixtures import Packaged, serve, write_bundle

LINEAGE = {"tag": "digits:0", **dict.fromkeys(IDENTITY)}


def break_network(bundle: Path) -> None:
    """Let the network be one that can be opened, and fails as soon as it is asked."""
    network = onnx.load(bundle / "model.onnx")
    broken = {"shape": np.array([-1, 28**2 + 1]), "weights": np.ones((28**2 + 1, 10), np.float32)}
    for one in network.graph.initializer:
        one.CopyFrom(numpy_helper.from_array(broken[one.name], one.name))
    onnx.save(network, bundle / "model.onnx")


@pytest.mark.parametrize("broken", ["it fails", "it answers what is no number", None])
def test_a_model_is_ready_when_it_answers(
    tmp_path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    weights = np.full((784, 10), np.nan, np.float32) if broken and "no number" in broken else None
    write_bundle(tmp_path, seed=0, weights=weights)
    if broken == "it fails":
        break_network(tmp_path)
    assert Model(Predictor.open(tmp_path), LINEAGE).answers() is (broken is None)
    assert ("the model does not answer" in caplog.text) == (broken == "it fails")


def test_a_service_whose_model_does_not_answer_lives_and_is_not_ready(
    packaged: Packaged, bento_python: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(packaged.home, home, symlinks=True)
    for model in home.glob("models/digits/*/model.onnx"):
        break_network(model.parent)
    with serve(bento_python, "digits:latest", cwd=tmp_path, home=home, until="/livez") as running:
        assert running.client.get("/readyz").status_code == 503
        assert running.client.get("/livez").status_code == 200
        assert running.client.get("/model").json()["name"] == "tiny"


def test_the_time_limit_over_a_request_is_the_services_own(packaged: Packaged) -> None:
    """BentoML's would end an upload that still arrives, and keeps a timer for each request."""
    program = (
        "import sys; sys.path.insert(0, 'src')\n"
        "from digits.serving.service import Digits\n"
        "app = Digits.to_asgi()\n"
        "layers = [app.build_middleware_stack()]\n"
        "while hasattr(layers[-1], 'app'): layers.append(layers[-1].app)\n"
        "print(*(type(layer).__name__ for layer in layers))\n"
    )
    home, cwd = packaged.home, packaged.project
    ran = serving_fixtures.run(sys.executable, "-c", program, cwd=cwd, home=home)
    assert ran.returncode == 0, ran.stderr
    layers = ran.stdout.split()
    assert "Shortcut" in layers
    assert "TimeoutMiddleware" not in layers


def test_a_worker_that_is_started_later_answers_as_the_others_do(
    packaged: Packaged, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    home = tmp_path / "home"
    shutil.copytree(packaged.project, project)
    shutil.copytree(packaged.home, home, symlinks=True)
    with serve(Path(sys.executable), cwd=project, home=home) as running:
        before = running.client.get("/model").json()
        facts = project / "champion/champion.json"
        other = json.loads(facts.read_text()) | {"version": 4, "run_id": "feedfacefeedface"}
        facts.write_text(json.dumps(other))
        result = serving_fixtures.package(project, home=home)
        assert result.returncode == 0, result.stderr
        answering = running.log.read_text().count("answering with")
        os.kill(running.worker_pids()[0], signal.SIGKILL)
        while running.log.read_text().count("answering with") == answering:
            assert running.process.poll() is None
            time.sleep(0.1)
        # A connection each, so that every worker is asked.
        models = [httpx.get(f"{running.client.base_url}/model").json() for _ in range(20)]
        assert all(model == before for model in models)
        assert json.loads((project / "served/lineage.json").read_text())["version"] == 4


def test_two_services_of_one_person_count_each_their_own(packaged: Packaged) -> None:
    cwd, home = packaged.project, packaged.home
    picture = {"image": serving_fixtures.drawing()}

    def counted(running: serving_fixtures.Service) -> float:
        lines = running.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if "predictions_total{" in line)

    with serve(Path(sys.executable), cwd=cwd, home=home) as first:
        for _ in range(3):
            assert first.client.post("/predict", files=picture).is_success
        with serve(Path(sys.executable), cwd=cwd, home=home) as second:
            assert second.client.post("/predict", files=picture).is_success
            assert (counted(first), counted(second)) == (3, 1)
        assert first.client.post("/predict", files=picture).is_success
        assert counted(first) == 4
