"""A team's server: deploy/ as it is written down, and its parts at work without Docker."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import psycopg
import pytest
import requests
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement

from digits import champion, evaluate, gate, selection, settings
from digits.commands import main
from digits.runs import finding, registry
from drawn import drawn_set
from mlflow_server import Server, free_port, until_it_answers
from postgres_fixtures import programs
from stores import mlflow_client
from training_fixtures import ROOT, TINY, Project, make_project

pytestmark = [
    # MLflow's SQL store uses what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    # MLflow's own code, as it loads.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred"),
]
DEPLOY = ROOT / "deploy"
VARIABLE = re.compile(r"\$\{(\w+)(?::\?[^}]*)?\}")
# What MLflow and boto3 take for settings of their own must not come from a person's shell.
FOREIGN = ("MLFLOW_", "AWS_")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


def test_every_variable_of_the_compose_file_is_in_the_example_and_no_other() -> None:
    used = set(VARIABLE.findall((DEPLOY / "compose.yaml").read_text()))
    example = (DEPLOY / ".env.example").read_text().splitlines()
    listed = [line.partition("=")[0] for line in example if line and not line.startswith("#")]
    assert used == {*listed}
    ignored = subprocess.run(["git", "check-ignore", "-q", DEPLOY / ".env"], cwd=ROOT)
    assert ignored.returncode == 0


def test_every_image_is_pinned_and_what_keeps_running_is_watched(compose: dict[str, Any]) -> None:
    services = compose["services"]
    froms = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    built = {service["image"] for service in services.values() if "build" in service}
    for image in {service["image"] for service in services.values()} - built | {*froms}:
        assert re.search(r":\D*\d+\.\d+|:RELEASE\.\d{4}-", image), image
    once = {"buckets", "backup"}
    for name in services.keys() - once:
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["healthcheck"]["test"][0] == "CMD"
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in once else "service_healthy"
            assert how == {"condition": expected}
        for port in service.get("ports", ()):
            assert port.startswith("${ADDRESS}:")


def test_what_one_leaves_out_for_an_s3_of_ones_own_is_all_that_waits_for_it(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    without = {"s3", "buckets"}
    waiting = {name for name in services if without & services[name].get("depends_on", {}).keys()}
    text = (ROOT / "docs/operations.md").read_text()
    (told,) = re.findall(r"leave out the services (.+?) the lines that wait", text, re.DOTALL)
    assert {*re.findall(r"`(\w+)`", told)} == without | waiting


def test_pg_dump_is_of_the_version_of_the_database(compose: dict[str, Any]) -> None:
    (client,) = re.findall(r"postgresql-client-(\d+)", (DEPLOY / "Dockerfile").read_text())
    assert compose["services"]["postgres"]["image"].startswith(f"postgres:{client}.")


def test_the_server_has_the_packages_of_the_project() -> None:
    def pinned(lock: Path) -> dict[str, str]:
        lines = [line for line in lock.read_text().splitlines() if re.match(r"\w", line)]
        parts = [Requirement(line.rstrip("\\ ")) for line in lines]
        return {part.name: str(part.specifier) for part in parts}

    project, server = pinned(ROOT / "requirements.lock"), pinned(DEPLOY / "requirements.lock")
    assert {"mlflow", "boto3", "psycopg-binary"} <= server.keys()
    assert server.items() <= project.items()
    assert "torch" not in server
    assert "://" not in (DEPLOY / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server: moto's, in memory."""
    port = free_port()
    with (tmp_path_factory.mktemp("moto") / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
        )
    try:
        until_it_answers(f"http://127.0.0.1:{port}/moto-api/")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server_settings(compose: dict[str, Any], postgres: str, bucket_server: str) -> dict[str, str]:
    """The environment of the compose file's server, with this machine's addresses in it."""
    example = (DEPLOY / ".env.example").read_text()
    chosen = dict(re.findall(r"^(MLFLOW_\w+)=(.+)$", example, re.MULTILINE))
    chosen |= {"POSTGRES_PASSWORD": "pw", "S3_USER": "digits", "S3_PASSWORD": "secret"}
    written: dict[str, str] = compose["services"]["mlflow"]["environment"]
    environ = {
        key: VARIABLE.sub(lambda found: chosen.get(found[1], ""), value)
        for key, value in written.items()
    }
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in ("mlflow", "restored"):
            connection.execute(f"CREATE DATABASE {name}")
    database = environ["MLFLOW_BACKEND_STORE_URI"]
    assert database == "postgresql://mlflow:pw@postgres:5432/mlflow"
    assert environ["AWS_ENDPOINT_URL_S3"] == "http://s3:9000"
    own = {
        "MLFLOW_BACKEND_STORE_URI": f"{postgres.rpartition('/')[0]}/mlflow",
        "AWS_ENDPOINT_URL_S3": bucket_server,
    }
    return environ | own


def store(*words: str | Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`python deploy/store.py` as it runs in the server's container."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    path = f"{programs()}{os.pathsep}{kept['PATH']}"
    return subprocess.run(
        [sys.executable, DEPLOY / "store.py", *words],
        env={**kept, "PATH": path, **environ},
        capture_output=True,
        text=True,
    )


def bucket(environ: dict[str, str], name: str) -> dict[str, bytes]:
    """All that is in a bucket."""
    s3 = boto3.client(
        "s3",
        endpoint_url=environ["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        region_name=environ["AWS_DEFAULT_REGION"],
    )
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=name).get("Contents", ())]
    return {key: s3.get_object(Bucket=name, Key=key)["Body"].read() for key in keys}


@pytest.fixture(scope="module")
def server(
    server_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    made = store("buckets", "mlflow", "dvc", environ=server_settings)
    assert made.returncode == 0, made.stderr
    server = Server(tmp_path_factory.mktemp("server"), **server_settings)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def team(
    server: Server, forkserver: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, str]:
    """A project whose model was trained, evaluated, selected and judged with the team's server."""
    project = make_project(tmp_path_factory.mktemp("first"))
    images_NHW, labels_N = drawn_set(30, seed=5)
    np.savez(project.folder / "test.npz", images=images_NHW, labels=labels_N)
    server.wait()
    words = (*TINY, "training.epochs=1", "out=models/cnn")
    training = project.train(*words, MLFLOW_TRACKING_URI=server.uri)
    assert training.ended() == 0, training.said()
    models, reports, test = Path("models"), Path("reports"), Path("test.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        evaluate.run(model=models / "cnn", test=test, report=reports / "cnn")
        chosen = reports / "selected.json"
        selected = selection.run(candidates=("cnn",), models=models, out=chosen)
        assert selected["version"] == 1
        verdict = gate.run(
            selected=chosen,
            models=models,
            reports=reports,
            test=test,
            gate=settings.load_params().gate,
        )
    assert verdict["promoted"]
    return project, str(selected["run_id"])


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("mlflow.example.org:5000", "http://mlflow.example.org:5000", 200),
        ("mlflow.example.org", "https://mlflow.example.org", 200),  # through a proxy
        ("mlflow.example.org:5000", "http://stranger.example.org", 403),
        ("stranger.example.org", "http://mlflow.example.org:5000", 403),
    ],
)
def test_the_pages_work_under_the_names_of_the_example_and_no_others(
    host: str, origin: str, status: int, server: Server
) -> None:
    server.wait()
    asked = requests.post(
        f"{server.uri}/ajax-api/2.0/mlflow/experiments/search",
        json={"max_results": 1},
        headers={"Host": host, "Origin": origin},
    )
    assert asked.status_code == status, asked.text


def test_another_machine_reads_with_the_champion_that_the_team_has(
    team: tuple[Project, str],
    server: Server,
    server_settings: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, run_id = team
    model = f"{run_id}/artifacts/bundle/model.onnx"
    assert any(key.endswith(model) for key in bucket(server_settings, "mlflow"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    found = finding.find("champion")
    assert found.info.run_id == run_id
    # Through the server: who trains has no key of the bucket.
    assert found.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert registry.champion() == (1, run_id)
    champion.crown_run(run_id, version=1, taken_back=[], why="brought from MLflow")
    onnx = (tmp_path / "champion/bundle/model.onnx").read_bytes()
    assert onnx == project.bundle("models/cnn")["model.onnx"]
    words = ["predict", "--json", "--model", "champion/bundle", str(ROOT / "docs/seven.jpg")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["digit"] in range(10)


def test_a_backup_brings_back_runs_registry_and_files(
    team: tuple[Project, str], server_settings: dict[str, str], postgres: str, tmp_path: Path
) -> None:
    _, run_id = team
    folder = tmp_path / "monday"
    saved = store("save", folder, environ=server_settings)
    files = bucket(server_settings, "mlflow")
    assert saved.stdout == f"{folder}: the database and {len(files)} files\n", saved.stderr
    again = store("save", folder, environ=server_settings)
    assert again.stderr == f"store: {folder} is there already; choose another folder\n"

    database = f"{postgres.rpartition('/')[0]}/restored"
    elsewhere = {
        **server_settings,
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://restored",
    }
    for _ in range(2):  # the second time in place of what is there
        restored = store("restore", folder, environ=elsewhere)
        assert restored.returncode == 0, restored.stderr
    assert bucket(server_settings, "restored") == files
    before, after = (
        mlflow_client(uri) for uri in (server_settings["MLFLOW_BACKEND_STORE_URI"], database)
    )
    assert after.get_run(run_id).to_dictionary() == before.get_run(run_id).to_dictionary()
    assert after.get_model_version_by_alias(registry.MODEL, "champion").run_id == run_id

    nothing = store("restore", tmp_path / "tuesday", environ=elsewhere)
    assert nothing.stderr == f"store: {tmp_path / 'tuesday'} is no backup, it has no mlflow.dump\n"


def test_what_dvc_pushes_to_the_bucket_another_clone_pulls(
    bucket_server: str, server_settings: dict[str, str], tmp_path: Path
) -> None:
    assert store("buckets", "dvc", environ=server_settings).returncode == 0
    keys = {key: value for key, value in server_settings.items() if key.startswith("AWS_")}
    env = {
        **os.environ,
        **keys,
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def dvc(*words: str, cwd: Path) -> None:
        done = subprocess.run(["dvc", *words], cwd=cwd, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    dvc("init", "--no-scm", "--quiet", cwd=first)
    dvc("remote", "add", "--default", "team", "s3://dvc/digits", cwd=first)
    (first / "weights").write_bytes(b"learnt")
    dvc("add", "--quiet", "weights", cwd=first)
    dvc("push", "--quiet", cwd=first)
    shutil.copytree(first, second, ignore=shutil.ignore_patterns("cache", "tmp", "weights"))
    dvc("pull", "--quiet", cwd=second)
    assert (second / "weights").read_bytes() == b"learnt"
