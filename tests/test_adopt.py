"""A training found by hand becomes a candidate that the pipeline repeats."""

import csv
import difflib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from digits import adoption, configuration
from digits.commands import main
from digits.runs import tracking
from stores import mlflow_client
from training_fixtures import ROOT, TINY, Project, make_project

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
FOUND = (*TINY, "augment=none", "optimizer=sgd", "optimizer.lr=0.02", "schedule.warmup=0.5")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, project: Project) -> Project:
    """A project with two trainings by hand, one of which left out a fold.

    Of its own, since it is changed; the shared one is asked for to be trained by the same process.
    """
    project = make_project(tmp_path_factory.mktemp("adopted"))
    for words in ((*FOUND, "seed=7", "out=found"), (*TINY, "fold=1", "out=folded")):
        training = project.train(*words)
        assert training.ended() == 0, training.said()
    return project


@pytest.fixture
def inside(found: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The project as the current folder, its settings brought back afterwards."""
    monkeypatch.chdir(found.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.tracking_uri)
    yield found
    for path in Path("conf/model").glob("*.yaml"):
        if not (ROOT / path).exists():
            path.unlink()
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())


def like(
    project: Project, out: str, name: str, params: dict[str, str], without: Iterable[str] = ()
) -> str:
    """The id of a finished run in MLflow that is as another, but for some of its parameters."""
    client = mlflow_client(project.tracking_uri)
    found = client.get_run(project.run_id(out))
    tags = {"model": found.data.tags["model"]}
    run = client.create_run(found.info.experiment_id, run_name=name, tags=tags)
    kept = {
        key: value
        for key, value in found.data.params.items()
        if key.partition(".")[0] not in without
    }
    for key, value in (kept | params).items():
        client.log_param(run.info.run_id, key, value)
    for key, value in found.data.metrics.items():
        client.log_metric(run.info.run_id, key, value)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def history(out: str) -> list[tuple[str, ...]]:
    """What each epoch came to, without the time it took."""
    with Path(out, "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    timed = ("epoch_s", "images_per_s")
    return [tuple(value for key, value in row.items() if key not in timed) for row in rows]


def test_the_pipeline_repeats_what_was_adopted(inside: Project) -> None:
    run_id = inside.run_id("found")
    adopted = adoption.adopt(run_id[:8], name="found_by_hand")
    assert (adopted.path, adopted.base) == (Path("conf/model/found_by_hand.yaml"), "cnn")
    content = yaml.safe_load(adopted.path.read_text())
    assert content["model"]["name"] == "found_by_hand"
    assert content["optimizer"] == {"lr": 0.02}
    assert content["seed"] == 7
    assert {"override /augment": "none"} in content["defaults"]
    assert {"override /optimizer": "sgd"} in content["defaults"]
    assert "augment" not in content
    text = adopted.path.read_text()
    assert f"# Adopted from run {run_id[:8]}, 'cnn " in text

    training = inside.train("model=found_by_hand", "out=again")
    assert training.ended() == 0, training.said()
    assert history("again") == history("found")
    weights = "weights.safetensors"
    assert inside.bundle("again")[weights] == inside.bundle("found")[weights]


def test_of_the_settings_one_line_changes(inside: Project) -> None:
    before = Path("params.yaml").read_text().splitlines()
    adoption.adopt(inside.run_id("found"), name="another")
    after = Path("params.yaml").read_text().splitlines()
    changes = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert len(changes) == 2
    assert changes[1].startswith("+ candidates: [mlp, cnn, another] # files in conf/model/")
    assert configuration.compose(["model=another"])["seed"] == 7


def test_the_command_says_what_it_wrote(inside: Project) -> None:
    run_id = inside.run_id("found")
    said = CliRunner().invoke(main, ["adopt", run_id], catch_exceptions=False).output.splitlines()
    assert said[0].startswith(f"conf/model/cnn_{run_id[:6]}.yaml: cnn with ")
    assert "optimizer.lr" in said[0]
    assert "make repro" in said[1]
    assert len(said) == 2  # the pipeline's own trainer is that of this machine, too


def test_another_trainer_than_the_pipelines_is_said(inside: Project) -> None:
    run_id = like(inside, "found", "in double", {"trainer.precision": "64-true"})
    said = CliRunner().invoke(main, ["adopt", run_id], catch_exceptions=False).output.splitlines()
    assert "it was trained with trainer.precision=64-true" in said[2]


def test_what_is_a_candidate_already_is_not_adopted(inside: Project) -> None:
    mlp = configuration.compose(["model=mlp"])
    sections = {key: value for key, value in mlp.items() if key in adoption.SECTIONS}
    params = {key: str(value) for key, value in tracking.flatten(sections).items()}
    run_id = like(inside, "found", "mlp seed=1", params, without=adoption.SECTIONS)
    before = Path("params.yaml").read_bytes()
    result = CliRunner().invoke(main, ["adopt", run_id])
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: 'mlp seed=1' is what conf/model/mlp.yaml says, a candidate already: there is "
        "nothing to adopt\n"
    )
    assert Path("params.yaml").read_bytes() == before


def test_a_student_is_refused_since_the_pipeline_has_no_teacher(inside: Project) -> None:
    run_id = like(inside, "found", "student", {"training.teacher": "models/ensemble/bundle"})
    models = sorted(Path("conf/model").iterdir())
    with pytest.raises(ValueError, match="'student' learnt from a teacher, models/ensemble/bundle"):
        adoption.adopt(run_id)
    assert sorted(Path("conf/model").iterdir()) == models


@pytest.mark.parametrize(
    "name",
    ["on", "yes", "Null", "true", "nan", "123", "1e3", "_", "größe", "a-b", "a\n", "../cnn", ""],
)
def test_a_name_that_would_not_be_read_back_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=r"^a model's name is of the letters a to z") as refused:
        adoption._expect_name(name)
    assert str(refused.value).endswith(f"; got {name!r}")
    adoption._expect_name("on_paper2")


def test_what_cannot_be_composed_leaves_no_file(
    inside: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, models = Path("params.yaml").read_bytes(), sorted(Path("conf/model").iterdir())
    compose = configuration.compose

    def stopped(overrides: list[str]) -> Any:
        if overrides == ["model=half"]:
            raise KeyboardInterrupt
        return compose(overrides)

    monkeypatch.setattr(configuration, "compose", stopped)
    with pytest.raises(KeyboardInterrupt):
        adoption.adopt(inside.run_id("found"), name="half")
    assert sorted(Path("conf/model").iterdir()) == models
    assert Path("params.yaml").read_bytes() == settings


def test_what_cannot_be_a_candidate_is_refused_and_nothing_is_written(inside: Project) -> None:
    settings, models = Path("params.yaml").read_bytes(), sorted(Path("conf/model").iterdir())
    run_id = inside.run_id("found")
    for word, name, sentence in (
        (inside.run_id("folded"), None, "left out fold 1"),
        (run_id, "cnn", "conf/model/cnn.yaml is there already"),
        (run_id, "on", "a model's name is of the letters"),
        ("nobody", None, "there is no run 'nobody'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            adoption.adopt(word, name=name)
    other = settings.replace(b"name: mnist ", b"name: optdigits ")
    Path("params.yaml").write_bytes(other)
    with pytest.raises(
        ValueError, match="trained on data/mnist/prepared, the pipeline trains on data/opt"
    ):
        adoption.adopt(run_id)
    assert Path("params.yaml").read_bytes() == other
    assert sorted(Path("conf/model").iterdir()) == models


def test_a_run_of_other_images_or_of_another_split_is_refused(inside: Project) -> None:
    models, run_id = sorted(Path("conf/model").iterdir()), inside.run_id("found")
    facts = Path("data/mnist/prepared/data.json")
    before = facts.read_text()
    known = json.loads(before)
    try:
        other = {**known, "digest": "sha256:" + "9" * 64, "num_train": 600, "num_val": 140}
        facts.write_text(json.dumps(other))
        said = CliRunner().invoke(main, ["adopt", run_id])
        facts.unlink()
        missing = CliRunner().invoke(main, ["adopt", run_id])
    finally:
        facts.write_text(before)
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr.count("\n") == 1
    learnt = f"drawn with 640 images to learn from and 100 held out ({known['digest'][:15]})"
    assert f"was trained on {learnt} and could not be repeated" in said.stderr
    assert "drawn with 600 images to learn from and 140 held out (sha256:99999999)" in said.stderr
    assert missing.exit_code == 2
    assert "data.json is missing; run `dvc repro prepare`" in missing.stderr
    assert sorted(Path("conf/model").iterdir()) == models
    assert Path("params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize(("key", "made_with"), [("seed", 2), ("val_size", 0.1)])
def test_a_split_that_is_not_prepared_yet_is_prepared_first(
    inside: Project, key: str, made_with: float
) -> None:
    settings = yaml.safe_load(Path("params.yaml").read_text())
    params = {"params.yaml": {"seed": settings["seed"], "val_size": settings["val_size"]}}
    params["params.yaml"][key] = made_with
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"prepare": {"params": params}}}))
    try:
        with pytest.raises(ValueError, match=f"{key}: .* was made with {made_with}; run `dvc re"):
            adoption.adopt(inside.run_id("found"))
    finally:
        Path("dvc.lock").unlink()
