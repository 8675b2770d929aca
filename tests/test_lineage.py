"""`digits lineage`: from a model to what it was made of, and from data to models."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from digits.commands import main
from stores import mlflow_client, new_store

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
DIGEST = "sha256:" + "0123456789abcdef" * 4
TAGS = {
    "model": "cnn",
    "dataset": "mnist",
    "data_digest": DIGEST,
    "git_commit": "f" * 40,
    "dvc.data/mnist/prepared/train.npz": "cafe",
    "version.torch": "2.9.0",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Four trainings, three of them on the same data and one of those registered; its run's id."""
    folder = tmp_path_factory.mktemp("lineage")
    uri = new_store(folder / "mlflow.db")
    client = mlflow_client(uri)
    experiment = client.create_experiment("digits", (folder / "files").as_uri())
    client.create_registered_model("digits")
    (folder / "dvc.lock").write_text("stages: {}")
    ids = []
    for name, digest in (("one", DIGEST), ("two", DIGEST), ("else", "sha256:" + "9" * 64)):
        tags = TAGS | {"data_digest": digest}
        ids.append(client.create_run(experiment, run_name=name, tags=tags).info.run_id)
    elsewhere = client.create_experiment("accuracy", (folder / "files").as_uri())
    client.create_run(elsewhere, run_name="three", tags=TAGS)
    client.log_artifact(ids[0], str(folder / "dvc.lock"))
    version = client.create_model_version("digits", "somewhere", run_id=ids[0])
    client.set_registered_model_alias("digits", "champion", version.version)
    return uri, ids[0]


@pytest.fixture(autouse=True)
def here(store: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store[0])
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


def lineage(*words: str) -> Result:
    return CliRunner().invoke(main, ["lineage", *words])


@pytest.mark.parametrize("word", ["champion", "v1", "one"])
def test_a_model_leads_to_all_that_it_was_made_of(store: tuple[str, str], word: str) -> None:
    result = lineage(word, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["run_id"] == store[1]
    assert (found["version"], found["git_commit"]) == (1, "f" * 40)
    assert (found["dataset"], found["data_digest"]) == ("mnist", DIGEST)
    assert found["dvc"] == {"data/mnist/prepared/train.npz": "cafe"}
    assert found["packages"] == {"torch": "2.9.0"}
    assert found["bundle"] is None
    assert Path(found["dvc_lock"].removeprefix("file://")).read_text() == "stages: {}"
    said = lineage(word).stdout
    assert all(part in said for part in ("f" * 40, DIGEST, "torch  2.9.0", found["dvc_lock"]))


@pytest.mark.parametrize("digest", [DIGEST, DIGEST[:15], DIGEST[:20].upper().replace("SHA", "sha")])
def test_data_leads_to_every_model_that_learnt_from_it(digest: str) -> None:
    result = lineage(digest, "--json")
    assert result.exit_code == 0, result.stderr
    assert {json.loads(line)["name"] for line in result.stdout.splitlines()} == {
        *("one", "two"),
        "three",  # of another experiment
    }
    assert "one" in lineage(digest).stdout


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("sha256:" + "1" * 64, "no training in MLflow learnt from data with the digest sha256:11"),
        ("sha256:12", "a digest has hexadecimal digits, 8 or more of them; got 'sha256:12'"),
        ("sha256:%' or 1=1", "a digest has hexadecimal digits"),
        ("champio", "did you mean 'champion'?"),
    ],
)
def test_what_is_not_there_is_said(word: str, sentence: str) -> None:
    result = lineage(word)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
