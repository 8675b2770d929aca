"""What a training leaves in MLflow, read back with MLflow's own client."""

import json
import os
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from digits import addresses
from digits.reading.predictor import Predictor
from digits.runs import lineage, reachable, tracking
from digits.runs.labels import run_name
from drawn import drawn_set
from stores import mlflow_client
from training_fixtures import TINY, Project, forked

EPOCH_METRICS = ("train_loss", "val_loss", "val_accuracy", "learning_rate", "images_per_s")


@pytest.fixture(scope="module")
def client(trained: Project) -> Any:
    return mlflow_client(trained.tracking_uri)


@pytest.fixture(scope="module")
def run(trained: Project, client: Any) -> Any:
    return client.get_run(trained.run_id("trained"))


@pytest.fixture(scope="module")
def artifacts(run: Any) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"))


@pytest.fixture(scope="module")
def model_folder(client: Any, run: Any) -> Path:
    (output,) = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    return Path(logged.artifact_location.removeprefix("file://"))


def test_the_run_says_that_it_finished_under_a_name_that_tells_it_apart(run: Any) -> None:
    assert run.info.status == "FINISHED"
    asked = [override for override in TINY if not override.startswith("model=")]
    assert run.info.run_name == " ".join(["cnn", *asked])


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["model=cnn", "out=models/cnn"], "cnn seed=7"),
        (["model=cnn", "seed=7", "optimizer.lr=0.1"], "cnn seed=7 optimizer.lr=0.1"),
        (["resume=false", "fold=2"], "cnn seed=7 fold=2"),
    ],
)
def test_a_run_is_named_after_what_was_asked_for(overrides: list[str], name: str) -> None:
    assert run_name("cnn", 7, overrides) == name


def test_a_name_is_as_long_as_mlflows_databases_take_it() -> None:
    name = run_name("cnn", 7, ["model.network.layers=" + "{conv:8}," * 40])
    assert len(name) == 250
    assert name.startswith("cnn seed=7 model.network.layers={conv:8},")
    assert name.endswith("…")


def test_every_resolved_setting_is_a_parameter(trained: Project, run: Any) -> None:
    (hydra_file,) = [
        path
        for path in (trained.folder / "outputs").glob("*/.hydra/config.yaml")
        if yaml.safe_load(path.read_text())["out"] == "trained"
    ]
    content = yaml.safe_load(hydra_file.read_text())
    # Of the data set data.json says more; what is drawn for it is resolved.
    content["synthetic"]["drawn"] = content.pop("data")["synthetic"]
    composed = tracking.flatten(content)
    # Where the result is written does not shape it, and `seed` is read from params.yaml.
    expected = {key for key in composed if key not in ("out", "resume")}
    logged = {key for key in run.data.params if not key.startswith("data.")}
    assert logged == expected
    assert run.data.params["optimizer.lr"] == "0.012"
    assert run.data.params["model.network.norm"] == "layer"
    assert run.data.params["seed"] == "1"
    assert run.data.params["data.num_train"] == "640"
    assert not any("${" in value for value in run.data.params.values())


@pytest.mark.parametrize("metric", EPOCH_METRICS)
def test_each_epoch_has_its_metrics_as_in_the_history_file(
    metric: str, trained: Project, client: Any, run: Any
) -> None:
    header, *rows = (trained.folder / "trained/history.csv").read_text().split()
    column = header.split(",").index(metric)
    logged = client.get_metric_history(run.info.run_id, metric)
    assert [point.step for point in logged] == [1, 2, 3, 4]
    assert [point.value for point in logged] == [float(row.split(",")[column]) for row in rows]


def test_what_the_bundle_scored_on_validation_is_a_metric(trained: Project, run: Any) -> None:
    meta = json.loads(trained.bundle("trained")["model.json"])
    assert run.data.metrics["bundle/val_accuracy"] == meta["validation"]["accuracy"]
    assert run.data.metrics["bundle/num_parameters"] == meta["num_parameters"] == 2203
    assert run.data.metrics["bundle/temperature"] == meta["calibration"]["temperature"]


def test_system_metrics_are_logged(run: Any) -> None:
    assert run.data.metrics["system/system_memory_usage_megabytes"] > 0
    assert "system/cpu_utilization_percentage" in run.data.metrics


def test_the_dataset_is_logged_with_its_digest(trained: Project, run: Any) -> None:
    facts = json.loads((trained.folder / "data/mnist/prepared/data.json").read_text())
    (logged,) = run.inputs.dataset_inputs
    assert logged.dataset.name == "drawn"
    assert len(logged.dataset.digest) == 36
    assert facts["digest"].startswith(f"sha256:{logged.dataset.digest}")
    assert {tag.value for tag in logged.tags if tag.key == "mlflow.data.context"} == {"training"}


def test_tags_say_where_the_run_comes_from(trained: Project, run: Any) -> None:
    facts = json.loads((trained.folder / "data/mnist/prepared/data.json").read_text())
    tags = run.data.tags
    assert tags["data_digest"] == facts["digest"]
    assert (tags["dataset"], tags["fallback"], tags["model"]) == ("drawn", "true", "cnn")
    known = json.loads(trained.bundle("trained")["model.json"])["lineage"]
    assert (known["dataset"], known["fallback"]) == ("drawn", True)
    assert tags["version.torch"] == lineage.package_versions()["torch"]
    # Commit and DVC's hashes are those of a checkout: test_pipeline.py looks at them.


def test_the_bundle_and_the_pictures_are_artifacts(trained: Project, artifacts: Path) -> None:
    files = {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()}
    assert files == {
        "bundle/model.json",
        "bundle/model.onnx",
        "bundle/weights.safetensors",
        "learning_curves.png",
        "samples.png",
        "architecture.txt",
    }
    for name, content in trained.bundle("trained").items():
        assert (artifacts / "bundle" / name).read_bytes() == content
    for name in ("learning_curves.png", "samples.png"):
        with Image.open(artifacts / name) as picture:
            assert min(picture.size) > 200
            low, high = picture.convert("L").getextrema()
            assert high - low > 200


def test_the_logged_model_answers_batches_of_any_size_as_the_bundle_does(
    trained: Project, model_folder: Path
) -> None:
    with warnings.catch_warnings():
        # MLflow's modules warn while they are imported.
        warnings.simplefilter("ignore")
        import mlflow.pyfunc

        model = mlflow.pyfunc.load_model(str(model_folder))
    signature = model.metadata.signature
    assert str(signature.inputs.inputs[0]) == "'frames': Tensor('uint8', (-1, 28, 28))"
    assert str(signature.outputs.inputs[0]) == ("'logits': Tensor('float32', (-1, 11))")
    predictor = Predictor.open(trained.folder / "trained/bundle")
    frames_BHW, _ = drawn_set(10, seed=7)
    for num in (1, 5):
        answer = model.predict({"frames": frames_BHW[:num]})["logits"]
        assert answer.shape == (num, 11)
        np.testing.assert_allclose(answer, predictor.outputs(frames_BHW[:num]), atol=1e-5)


def test_no_file_anywhere_is_a_pickle(trained: Project, model_folder: Path) -> None:
    kept = [trained.folder / "trained", trained.folder / "mlartifacts"]
    files = [path for folder in kept for path in folder.rglob("*") if path.is_file()]
    assert model_folder / "model.onnx" in files
    for path in files:
        head = path.read_bytes()[:4]
        assert path.suffix not in (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npy")
        # A pickle begins with its protocol, an archive of torch with that of a ZIP file.
        assert head[:1] != b"\x80", path
        assert head != b"PK\x03\x04", path


@pytest.mark.parametrize("variable", [None, ""])
def test_runs_are_kept_in_the_projects_root_unless_told_otherwise(
    variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if variable is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    assert tracking.tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://runs.example")
    assert tracking.tracking_uri() == "https://runs.example"


def test_settings_are_flattened_to_one_parameter_a_key() -> None:
    assert tracking.flatten({"a": {"b": {"c": 1}}, "d": [1, 2], "e": {}}) == {
        "a.b.c": 1,
        "d": [1, 2],
        "e": {},
    }


def test_a_password_in_the_address_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9/runs")
    with pytest.raises(tracking.TrackingError) as caught:
        tracking.check_reachable()
    assert "secret" not in str(caught.value)
    assert "http://127.0.0.1:9/runs cannot be used" in str(caught.value)


def test_an_at_sign_in_a_path_is_no_password() -> None:
    assert addresses.without_password("sqlite:////a/b@2/c.db") == "sqlite:////a/b@2/c.db"
    assert addresses.without_password("postgresql://me:a@b@db/digits") == "postgresql://db/digits"
    assert addresses.without_password("postgresql://me:a/b@db/digits") == "postgresql://db/digits"
    assert addresses.without_password("http://me:x@host/a@b") == "http://host/a@b"
    told = addresses.without_password("postgresql://db/digits?user=me&password=secret&x=1")
    assert told == "postgresql://db/digits?user=me&password=...&x=1"


def test_a_database_answers_when_it_is_one(tmp_path: Path) -> None:
    fresh = tmp_path / "not/there/yet.db"
    assert reachable.why_silent(f"sqlite:///{fresh}") is None
    (tmp_path / "text.db").write_text("no database, but long enough to be taken for one " * 30)
    assert reachable.why_silent(f"sqlite:///{tmp_path}/text.db") == "file is not a database"
    sqlite3.connect(tmp_path / "good.db").close()
    assert reachable.why_silent(f"sqlite:///{tmp_path}/good.db") is None
    assert reachable.why_silent(f"sqlite:///{tmp_path}") == "unable to open database file"


def ask_for_the_experiment(uri: str, meeting: Any) -> None:
    os.environ["MLFLOW_TRACKING_URI"] = uri
    meeting.wait()
    tracking.experiment_id()


def test_trainings_that_begin_together_share_a_store_that_was_not_there(
    forkserver: None, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path}/new.db"
    meeting = forked.Barrier(3)
    three = [forked.Process(target=ask_for_the_experiment, args=(uri, meeting)) for _ in range(3)]
    for process in three:
        process.start()
    for process in three:
        process.join(60)
    assert [process.exitcode for process in three] == [0, 0, 0]
    names = [experiment.name for experiment in mlflow_client(uri).search_experiments()]
    assert sorted(names) == ["Default", "digits"]


def test_a_store_of_another_kind_is_left_to_mlflow() -> None:
    assert reachable.why_silent("databricks://profile") is None


def test_the_commit_is_marked_dirty_by_changes_but_not_by_what_the_pipeline_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lineage.git_commit() is None
    for name in ("code.py", "dvc.lock"):
        Path(name).write_text("1")
    who = "-c user.name=a -c user.email=a@b.c"
    assert os.system(f"git init -q && git add . && git {who} commit -qm first") == 0
    commit = lineage.git_commit()
    assert commit is not None
    assert len(commit) == 40
    Path("dvc.lock").write_text("2")
    assert lineage.git_commit() == commit
    Path("code.py").write_text("2")
    assert lineage.git_commit() == f"{commit}-dirty"


def test_hashes_are_read_from_the_lock_file(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    assert lineage.lock_hashes(lock) == {}
    lock.write_text("")
    assert lineage.lock_hashes(lock) == {}
    stage = {"cmd": "x", "outs": [{"path": "data/raw", "md5": "abc.dir", "size": 1}]}
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": {"fetch": stage, "bare": {}}}))
    assert lineage.lock_hashes(lock) == {"data/raw": "abc.dir"}
