import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from digits.package import pinned_requirements
from digits.reading.packaged import content_tag
from digits.serving.served import read_others
from serving_fixtures import (
    DETAILS,
    METRICS,
    ROOT,
    RUN,
    SELECTED,
    SMALL_RUN,
    Packaged,
    environment,
    make_project,
    package,
    run,
    serve,
    write_bundle,
)


def test_the_served_folder_says_which_run_and_data_the_model_comes_from(packaged: Packaged) -> None:
    lineage = json.loads((packaged.project / "served/lineage.json").read_text())
    assert lineage.pop("tag").startswith("digits:")
    expected = {key: SELECTED[key] for key in ("version", "run_id", "git_commit")}
    data = {"data_digest": f"sha256:{0:064x}", "dataset": "mnist", "fallback": False}
    assert lineage == {"name": "tiny", **expected, **data, "metrics": METRICS}


def test_the_served_model_is_the_bundle_without_its_weights(packaged: Packaged) -> None:
    served = packaged.project / "served"
    names = {path.name for path in served.iterdir()}
    bundle = {"model.onnx", "model.json"}
    written = {f"{name}.json" for name in ("lineage", "details", "samples")}
    assert names == bundle | written | {"requirements.txt", "others"}
    assert json.loads((served / "details.json").read_text()) == DETAILS
    for name in ("model.onnx", "model.json"):
        assert (served / name).read_bytes() == (packaged.bundle / name).read_bytes()


def test_the_other_candidates_are_packaged_beside_it(packaged: Packaged) -> None:
    (small,) = (packaged.project / "served/others").iterdir()
    assert small.name == "small"
    lineage = json.loads((small / "lineage.json").read_text())
    data = {"data_digest": f"sha256:{0:064x}", "dataset": "mnist", "fallback": False}
    assert lineage.pop("tag") == content_tag(small, lineage)
    # It was neither registered nor, here, evaluated.
    unknown = {"version": None, "metrics": {}}
    assert lineage == {"name": "small", **SMALL_RUN, **data, **unknown}
    for name in ("model.onnx", "model.json"):
        made = packaged.project / "models/small/bundle" / name
        assert (small / name).read_bytes() == made.read_bytes()


def test_models_trained_by_hand_are_packaged_to_compare_where_params_name_them(
    tmp_path: Path,
) -> None:
    project = make_project(tmp_path / "project")
    shutil.copytree(project / "models/small", project / "models/mine")
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump({**params, "compare": ["mine", "tiny"]}))
    result = package(project, home=tmp_path / "home")
    assert result.returncode == 0, result.stderr
    others = project / "served/others"
    assert {path.name for path in others.iterdir()} == {"mine", "small"}
    assert json.loads((others / "mine/lineage.json").read_text())["name"] == "mine"


def test_a_challenger_of_the_champions_name_is_packaged_beside_it(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    write_bundle(project / "models/tiny/bundle", seed=9)
    (project / "models/tiny/run.json").write_text(json.dumps({**RUN, "run_id": "later"}))
    result = package(project, home=tmp_path / "home")
    assert result.returncode == 0, result.stderr
    assert json.loads((project / "served/lineage.json").read_text())["run_id"] == RUN["run_id"]
    others = project / "served/others"
    assert {path.name for path in others.iterdir()} == {"small", "tiny-challenger"}
    lineage = json.loads((others / "tiny-challenger/lineage.json").read_text())
    assert (lineage["name"], lineage["run_id"]) == ("tiny-challenger", "later")
    made = (project / "models/tiny/bundle/model.onnx").read_bytes()
    assert (others / "tiny-challenger/model.onnx").read_bytes() == made


def test_a_model_to_compare_that_is_not_there_or_not_alike_is_named(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump({**params, "compare": ["mine"]}))
    result = package(project, home=tmp_path / "home")
    assert result.returncode == 1
    assert "models/mine is missing, a candidate or named by `compare`" in result.stderr
    shutil.copytree(project / "models/small", project / "models/mine")
    meta = project / "models/mine/bundle/model.json"
    meta.write_text(meta.read_text().replace("[0, 1, ", '["zero", 1, '))
    result = package(project, home=tmp_path / "home")
    assert result.returncode == 1
    assert "models/mine/bundle knows other classes" in result.stderr
    assert not (project / "served").exists()


def test_packaging_again_gives_the_same_served_folder_and_stores_the_model_once(
    tmp_path: Path,
) -> None:
    project, home = make_project(tmp_path / "project"), tmp_path / "home"
    contents = []
    for _ in range(2):
        result = package(project, home=home)
        assert result.returncode == 0, result.stderr
        files = sorted(path for path in (project / "served").rglob("*") if path.is_file())
        contents.append([(file.name, file.read_bytes()) for file in files])
    assert contents[0] == contents[1]
    assert len(list((home / "models/digits").glob("*/model.onnx"))) == 1


def test_another_model_metric_or_run_has_another_tag(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a", seed=1)
    write_bundle(tmp_path / "b", seed=2)
    tags = {
        content_tag(tmp_path / folder, {"run_id": run_id})
        for folder in ("a", "b")
        for run_id in ("1", "2")
    }
    assert len(tags) == 4
    assert content_tag(tmp_path / "a", {"run_id": "1", "tag": "digits:x"}) in tags


def test_a_model_of_no_commit_is_packaged_too(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    about = project / "champion/champion.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "git_commit": None}))
    result = package(project, home=tmp_path / "home")
    assert result.returncode == 0, result.stderr
    assert json.loads((project / "served/lineage.json").read_text())["git_commit"] is None


def test_the_bento_requires_exact_versions_and_no_torch(packaged: Packaged) -> None:
    lines = (packaged.bento / "env/python/requirements.txt").read_text().split()
    assert all("==" in line for line in lines), lines
    names = {line.partition("==")[0] for line in lines}
    assert {"onnxruntime", "numpy", "pillow", "bentoml"} <= names
    assert not names & {"torch", "torchvision", "pytorch-lightning", "mlflow", "dvc", "hydra-core"}


def test_requirements_are_those_of_the_distribution_without_its_extras() -> None:
    names = {line.partition("==")[0] for line in pinned_requirements("digits")}
    assert "starlette" in names  # by way of BentoML
    assert "pytest" not in names


def test_the_bento_holds_the_service_the_reader_and_nothing_of_training(packaged: Packaged) -> None:
    source = packaged.bento / "src"
    python = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    rooms = ("reading", "serving")
    expected = {
        str(path.relative_to(packaged.project / "src"))
        for room in rooms
        for path in (packaged.project / "src/digits" / room).rglob("*.py")
    }
    assert python == expected | {"digits/__init__.py"}


def test_the_bento_holds_no_pickle_and_no_path_of_this_machine(
    packaged: Packaged, tmp_path: Path
) -> None:
    bento = tmp_path / "digits.bento"
    command = (sys.executable, "-m", "bentoml", "export", "digits:latest", bento)
    result = run(*command, cwd=tmp_path, home=packaged.home)
    assert result.returncode == 0, result.stderr
    with tarfile.open(bento) as archive:
        for member in archive:
            assert not member.name.endswith((".pkl", ".pickle", ".pt", ".bin"))
            file = archive.extractfile(member)
            if file is not None:
                content = file.read()
                assert str(packaged.project).encode() not in content, member.name
                assert str(ROOT).encode() not in content, member.name


def test_a_container_listens_to_the_outside(packaged: Packaged) -> None:
    envs = yaml.safe_load((packaged.bento / "bento.yaml").read_text())["envs"]
    assert [(env["name"], env["value"]) for env in envs] == [("BENTOML_HOST", "0.0.0.0")]


def test_the_next_command_is_printed(packaged: Packaged) -> None:
    assert "bentoml serve" in packaged.output
    assert f"digits:{packaged.bento.name}" in packaged.output


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda p: (p / "reports/selected.json").unlink(), "dvc repro select"),
        (lambda p: (p / "reports/selected.json").write_text("{"), "selected.json is damaged"),
        (lambda p: (p / "reports/selected.json").write_text("{}"), "has no 'candidates'"),
        (lambda p: (p / "champion/champion.json").unlink(), "dvc repro gate"),
        (lambda p: (p / "champion/champion.json").write_text("{}"), "has no 'version'"),
        (lambda p: (p / "champion/bundle/model.onnx").unlink(), "model.onnx is missing"),
        (lambda p: (p / "champion/bundle/model.onnx").write_bytes(b"x"), "is damaged"),
        (lambda p: (p / "bentofile.yaml").write_text("service: nowhere:Digits"), "nowhere"),
    ],
    ids=[
        "no-selection",
        "broken-selection",
        "empty-selection",
        "no-champion",
        "empty-champion",
        "no-model",
        "broken-model",
        "broken-bentofile",
    ],
)
def test_what_is_missing_or_damaged_is_said_in_one_line(damage, sentence, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    damage(project)
    result = package(project, home=tmp_path / "home")
    assert result.returncode == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "home").glob("bentos/*/*/bento.yaml"))


def tag_served(project: Path, *, home: Path) -> subprocess.CompletedProcess[str]:
    script = "from digits.serving.service import Digits; print(Digits.inner.model.tag)"
    return run(sys.executable, "-c", script, cwd=project, home=home)


def test_two_checkouts_that_share_a_store_each_serve_their_own_model(tmp_path: Path) -> None:
    home = tmp_path / "home"
    projects = [make_project(tmp_path / str(seed), seed=seed) for seed in range(2)]
    for project in projects:
        assert package(project, home=home).returncode == 0
    tags = [tag_served(project, home=home).stdout.strip() for project in projects]
    lineages = [json.loads((project / "served/lineage.json").read_text()) for project in projects]
    assert tags == [lineage["tag"] for lineage in lineages]
    assert tags[0] != tags[1]


def test_nothing_packaged_yet_is_said_in_one_line(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    result = run(sys.executable, "-m", "bentoml", "serve", cwd=project, home=tmp_path / "home")
    assert result.returncode == 1
    assert "nothing is packaged yet" in result.stderr
    assert "make repro" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_served_folder_that_is_not_its_own_digest_is_refused(
    packaged: Packaged, tmp_path: Path
) -> None:
    project = make_project(tmp_path / "project")
    (project / "served").mkdir()
    for file in (packaged.project / "served").glob("*.*"):
        (project / "served" / file.name).write_bytes(file.read_bytes())
    write_bundle(project / "served", seed=7)
    result = run(sys.executable, "-m", "bentoml", "serve", cwd=project, home=tmp_path / "home")
    assert result.returncode == 1
    assert "does not match its own digest" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_the_checkout_serves_its_model_when_the_store_has_lost_it(
    packaged: Packaged, tmp_path: Path
) -> None:
    lineage = json.loads((packaged.project / "served/lineage.json").read_text())
    with serve(Path(sys.executable), cwd=packaged.project, home=tmp_path / "empty") as service:
        assert service.client.get("/model").json().items() >= lineage.items()


def test_a_damaged_model_to_compare_with_is_left_out(
    packaged: Packaged, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served = tmp_path / "served"
    shutil.copytree(packaged.project / "served", served)
    shutil.copytree(served / "others/small", served / "others/renamed")
    (served / "others/.DS_Store").write_bytes(b"")
    assert [*read_others(served)] == ["small"]
    assert "others/renamed is left out: it is small" in caplog.text
    write_bundle(served / "others/small", seed=5, name="small")
    assert read_others(served) == {}
    assert "small does not match its own digest" in caplog.text


def test_serving_imports_neither_training_nor_tracking(packaged: Packaged) -> None:
    script = "import sys, digits.serving.service as s; print(*sorted(sys.modules))"
    command = [sys.executable, "-c", script]
    output = subprocess.check_output(
        command, cwd=packaged.project, env=environment(packaged.home), text=True
    )
    imported = {name.partition(".")[0] for name in output.split()}
    assert "onnxruntime" in imported
    heavy = {"torch", "torchvision", "lightning", "pytorch_lightning", "hydra", "mlflow", "dvc"}
    assert not imported & heavy
