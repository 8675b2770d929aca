"""A team's server from deploy/, without Docker: MLflow, PostgreSQL and a bucket; and its users."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import psycopg
import pytest
import yaml

from digits import evaluate, gate, selection, settings
from drawn import drawn_set
from mlflow_server import Server, free_port, until_it_answers
from postgres import programs
from training_fixtures import ROOT, TINY, Project, make_project

DEPLOY = ROOT / "deploy"
VARIABLE = re.compile(r"\$\{(\w+)(?::\?[^}]*)?\}")
# What MLflow and boto3 take for settings of their own must not come from a person's shell.
FOREIGN = ("MLFLOW_", "AWS_")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


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
def team_server(
    server_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    made = store("buckets", "mlflow", "dvc", environ=server_settings)
    assert made.returncode == 0, made.stderr
    server = Server(tmp_path_factory.mktemp("server"), **server_settings)
    yield server
    server.kill()


def trained_and_judged(
    project: Project, server: Server, *overrides: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the pipeline's stages do from `train` to `gate`: what is selected, and the verdict."""
    words = (*TINY, "training.epochs=1", "out=models/cnn", *overrides)
    training = project.train(*words, MLFLOW_TRACKING_URI=server.uri)
    assert training.ended() == 0, training.said()
    models, reports, test = Path("models"), Path("reports"), Path("test.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        evaluate.run(model=models / "cnn", test=test, report=reports / "cnn")
        chosen = reports / "selected.json"
        selected = selection.run(candidates=("cnn",), models=models, out=chosen)
        verdict = gate.run(
            selected=chosen,
            models=models,
            reports=reports,
            test=test,
            gate=settings.load_params().gate,
        )
    return selected, verdict


@pytest.fixture(scope="module")
def team(
    team_server: Server, forkserver: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, str]:
    """A project whose model was trained, evaluated, selected and judged with the team's server."""
    project = make_project(tmp_path_factory.mktemp("first"))
    images_NHW, labels_N = drawn_set(30, seed=5)
    np.savez(project.folder / "test.npz", images=images_NHW, labels=labels_N)
    team_server.wait()
    selected, verdict = trained_and_judged(project, team_server)
    assert selected["version"] == 1
    assert verdict["promoted"]
    return project, str(selected["run_id"])
