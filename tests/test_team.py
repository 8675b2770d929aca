"""A team's server at work, without Docker: trained with, promoted, served, backed up."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from digits import champion
from digits.commands import main
from digits.runs import finding, registry
from mlflow_server import Server
from serving_fixtures import add_code, drawing, run, serve
from stores import mlflow_client
from team_fixtures import bucket, store, trained_and_judged
from training_fixtures import ROOT, Project

pytestmark = [
    # MLflow's SQL store uses what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    # MLflow's own code, as it loads.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred"),
]


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
    host: str, origin: str, status: int, team_server: Server
) -> None:
    team_server.wait()
    asked = requests.post(
        f"{team_server.uri}/ajax-api/2.0/mlflow/experiments/search",
        json={"max_results": 1},
        headers={"Host": host, "Origin": origin},
    )
    assert asked.status_code == status, asked.text


def test_another_machine_reads_with_the_champion_that_the_team_has(
    team: tuple[Project, str],
    team_server: Server,
    server_settings: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, run_id = team
    model = f"{run_id}/artifacts/bundle/model.onnx"
    assert any(key.endswith(model) for key in bucket(server_settings, "mlflow"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team_server.uri)
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
    assert json.loads(done.stdout)["digit"] in range(10)
    assert "trained on drawn, a stand-in" in done.stderr


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


def test_a_challenger_is_promoted_with_the_teams_server_and_served(
    team: tuple[Project, str], team_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, first = team
    selected, verdict = trained_and_judged(project, team_server, "seed=2")
    # Whichever of the two is not the champion now.
    versions = [(1, first), (2, selected["run_id"])]
    (version, run_id), before = versions if verdict["promoted"] else versions[::-1]
    add_code(project.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team_server.uri)
    command = (sys.executable, "-m", "digits.commands")
    because = ("--because", "it reads our sevens")
    done = run(*command, "promote", f"v{version}", *because, cwd=project.folder, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"version {version} is the champion, instead of version ")
    assert registry.champion() == (version, run_id)
    with serve(Path(sys.executable), cwd=project.folder, home=tmp_path) as service:
        answer = service.client.post("/predict", files={"image": drawing()}).json()
    assert (answer["model"]["run_id"], answer["model"]["version"]) == (run_id, version)
    done = run(*command, "rollback", *because, cwd=project.folder, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert registry.champion() == before
