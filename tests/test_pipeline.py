"""The real pipeline, run by the real DVC, on a small data set that one file describes."""

import json
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow.tracking import MlflowClient

from checkout import NUM_TEST, NUM_TRAIN, VAL_SIZE, Checkout, Outcome, fill_mirror, make_checkout
from digits.runs import overview

pytestmark = [
    # Building the story takes most of this: the first test to ask for it waits.
    pytest.mark.timeout(600),
    # MLflow's SQL store asks SQLAlchemy for something that it no longer recommends.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
]


@dataclass(frozen=True)
class Offline:
    """A checkout that reached no mirror at first, and what it did then and with a mirror."""

    away: Outcome  # as far as the data
    report: dict[str, Any]
    back: Outcome  # as far as the data
    report_back: dict[str, Any]


@dataclass(frozen=True)
class Story:
    """A checkout in which the whole pipeline ran."""

    checkout: Checkout
    first: Outcome
    crowned: tuple[str, int]  # run and version
    offline: Offline

    @property
    def mlflow(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.checkout.folder / 'mlflow.db'}")

    def champion(self) -> tuple[str, int]:
        """The run and the version that the registry's alias points at now."""
        version = self.mlflow.get_model_version_by_alias("digits", "champion")
        return str(version.run_id), int(version.version)


def go_offline_and_back(checkout: Checkout, mirror: Path) -> Offline:
    away = checkout.dvc("repro", "prepare")
    report = checkout.json("reports/data.json")
    checkout.env["MNIST_MIRROR"] = str(mirror)
    # `dvc exp run` first brings back what dvc.lock names: the stand-in must not come with it.
    back = checkout.dvc("exp", "run", "prepare")
    return Offline(
        away=away,
        report=report,
        back=back,
        report_back=checkout.json("reports/data.json"),
    )


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    mirror = fill_mirror(tmp_path_factory.mktemp("mirror"))
    checkouts = [
        make_checkout(tmp_path_factory.mktemp("checkout"), home=tmp_path_factory.mktemp("home"))
        for _ in range(2)
    ]
    checkout, offline = checkouts
    checkout.env["MNIST_MIRROR"] = str(mirror)
    # Side by side, since most of a stage's time is Python starting on one core.
    with ThreadPoolExecutor() as pool:
        other = pool.submit(go_offline_and_back, offline, mirror)
        first = checkout.dvc("repro")
        selected = checkout.json("reports/selected.json")
        checkout.commit()
        crowned = (selected["run_id"], selected["version"])
        return Story(checkout, first, crowned, other.result())


@pytest.fixture
def checkout(story: Story) -> Iterator[Checkout]:
    """The checkout as the first run left it: every test may change what it likes."""
    yield story.checkout
    story.checkout.reset()


def test_one_command_runs_everything(story: Story) -> None:
    each = {f"{stage}@{model}" for stage in ("train", "evaluate") for model in ("mlp", "cnn")}
    assert story.first.ran == {
        *("fetch", "prepare", "synthesize", "compose", *each, "select", "gate", "package")
    }
    report = story.checkout.json("reports/data.json")
    assert (report["name"], report["fallback"]) == ("small", False)
    assert report["num_train"] == NUM_TRAIN - VAL_SIZE
    assert report["num_test"] == NUM_TEST
    lineage = story.checkout.json("models/cnn/bundle/model.json")["lineage"]
    assert (lineage["dataset"], lineage["fallback"]) == ("small", False)
    assert lineage["data_digest"] == report["digest"]


def test_what_the_libraries_would_say_of_themselves_is_not_shown(story: Story) -> None:
    said = story.first.output.splitlines()
    assert len([line for line in said if line.startswith("cnn epoch ")]) == 2
    stray = re.compile("warning|deprecat|^\\d{4}[-/]|INFO|Traceback", re.IGNORECASE)
    assert [line for line in said if stray.search(line)] == []


def test_without_a_mirror_a_stand_in_is_used_and_said(story: Story) -> None:
    offline = story.offline
    assert offline.away.ran == {"fetch", "prepare"}
    assert "WARNING: no mirror gave small" in offline.away.output
    said = {key: offline.report[key] for key in ("name", "requested", "fallback")}
    assert said == {"name": "optdigits", "requested": "small", "fallback": True}


def test_a_stand_in_holds_out_the_share_of_the_data_set_it_stands_for(story: Story) -> None:
    report = story.offline.report
    num = report["num_train"] + report["num_val"]
    assert report["num_val"] == round(num * VAL_SIZE / NUM_TRAIN)


def test_the_next_run_that_reaches_a_mirror_fetches_the_data_by_itself(story: Story) -> None:
    assert story.offline.back.ran == {"fetch", "prepare"}
    report = story.offline.report_back
    assert (report["name"], report["fallback"]) == ("small", False)
    assert report["digest"] == story.checkout.json("reports/data.json")["digest"]


def test_without_a_mirror_and_a_stand_in_it_stops_and_says_what_was_tried(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.edit("params.yaml", "fallback: optdigits", "fallback: none")
    away = {**checkout.env, "MNIST_MIRROR": str(tmp_path)}
    checkout.env, kept = away, checkout.env
    # Valid files are kept, so there must be none for a mirror to be asked.
    for path in (checkout.folder / "data/small/raw/MNIST/raw").iterdir():
        path.unlink()
    stopped = checkout.dvc("repro", "fetch", check=False)
    checkout.env = kept
    assert stopped.status != 0
    assert f"small could not be fetched: {tmp_path}" in stopped.output
    assert "Traceback" not in stopped.output
    checkout.dvc("checkout", "--force")


def test_nothing_changed_runs_nothing(checkout: Checkout) -> None:
    outcome = checkout.dvc("repro")
    assert "Data and pipelines are up to date." in outcome.output
    assert outcome.ran | outcome.restored == set()


def test_a_candidate_added_trains_only_that_one(checkout: Checkout) -> None:
    text = (checkout.folder / "conf/model/mlp.yaml").read_text()
    (checkout.folder / "conf/model/third.yaml").write_text(text)
    outcome = checkout.dvc("exp", "run", "-S", "candidates=[mlp,cnn,third]", "compose")
    assert outcome.ran == {"compose"}
    assert checkout.changed() == {"train@third", "evaluate@third", "select"}


def test_a_candidate_removed_leaves_its_files_and_is_not_selected(checkout: Checkout) -> None:
    best = checkout.json("reports/selected.json")["model"]
    (other,) = {"mlp", "cnn"} - {best}
    outcome = checkout.dvc("exp", "run", "-S", f"candidates=[{other}]", "select")
    assert outcome.ran == {"compose", "select"}
    selected = checkout.json("reports/selected.json")
    assert selected["model"] == other
    assert [candidate["name"] for candidate in selected["candidates"]] == [other]
    assert (checkout.folder / f"models/{best}/bundle/model.onnx").is_file()


def test_a_comment_or_an_unselected_model_trains_nothing(checkout: Checkout) -> None:
    text = (checkout.folder / "conf/model/mlp.yaml").read_text()
    (checkout.folder / "conf/model/mlp.yaml").write_text(f"{text}# a comment\n")
    (checkout.folder / "conf/model/unselected.yaml").write_text(
        re.sub(r"batch_size: \d+", "batch_size: 999", text)
    )
    assert checkout.dvc("repro").ran == {"compose"}


def test_a_hyperparameter_runs_what_uses_it_and_going_back_trains_nothing(
    story: Story, checkout: Checkout
) -> None:
    before = {
        path: (checkout.folder / path).read_bytes()
        for path in ("models/mlp/bundle/model.onnx", "models/mlp/run.json", "reports/selected.json")
    }
    changed = checkout.dvc("exp", "run", "-S", "conf/model/mlp.yaml:optimizer.lr=0.0001")
    assert changed.ran == {"compose", "train@mlp", "evaluate@mlp", "select", "gate", "package"}
    assert story.champion() == story.crowned  # whatever was selected is not better
    assert checkout.json("served/lineage.json")["run_id"] == story.crowned[0]
    assert "reports/mlp/metrics.json" in checkout.dvc("metrics", "diff").output

    checkout.command("git", "checkout", "--", "conf")
    back = checkout.dvc("repro")
    assert back.restored >= {"train@mlp", "evaluate@mlp"}
    # What others keep, MLflow's aliases and BentoML's store, DVC cannot restore: these run.
    assert back.ran == {"select", "gate", "package"}
    assert {path: (checkout.folder / path).read_bytes() for path in before} == before
    assert story.champion() == story.crowned


def test_a_value_and_a_choice_in_conf_can_be_set_from_the_command_line(checkout: Checkout) -> None:
    # A choice is an entry of the file's `defaults`; `augment=none` is for a training by hand.
    choice = "conf/model/cnn.yaml:defaults=[{override /augment: none}]"
    outcome = checkout.dvc("exp", "run", "-S", "seed=2", "-S", choice, "compose")
    assert outcome.ran == {"compose"}
    composed = checkout.yaml("composed/cnn.yaml")
    assert composed["augment"]["_target_"].endswith("NoAugment")
    assert composed["seed"] == 2
    assert checkout.yaml("composed/mlp.yaml")["augment"]["_target_"].endswith("Affine")
    assert checkout.changed() == {"prepare", "train@mlp", "train@cnn"}


@pytest.mark.parametrize(
    ("path", "old", "new", "stages"),
    [
        ("params.yaml", "val_size: 200", "val_size: 100", {"prepare"}),
        ("params.yaml", "seed: 1", "seed: 2", {"prepare", "compose"}),
        ("params.yaml", "fallback: optdigits", "fallback: none", {"fetch"}),
        ("conf/data/small.yaml", "num_test: 300", "num_test: 301", {"fetch", "prepare", "compose"}),
        (
            "src/digits/scores.py",
            "Scores",
            "Marks",
            {"evaluate@mlp", "evaluate@cnn", "select", "gate"},
        ),
        ("params.yaml", "significance: 0.05", "significance: 0.01", {"gate"}),
        ("src/digits/learning/models.py", '"""', '"""Now: ', {"train@mlp", "train@cnn"}),
        ("src/digits/serving/limits.py", '"""', '"""Now: ', {"package"}),
        ("src/digits/handwriting/pen.py", '"""', '"""Now: ', {"synthesize"}),
        (
            "conf/data/small.yaml",
            "nondigits: 60",
            "nondigits: 50",
            {"synthesize", "fetch", "compose"},
        ),
    ],
)
def test_a_change_concerns_the_stages_that_use_it(
    checkout: Checkout, path: str, old: str, new: str, stages: set[str]
) -> None:
    checkout.edit(path, old, new)
    assert checkout.changed() == stages


def test_dvc_shows_the_metrics_and_the_plots(checkout: Checkout) -> None:
    shown = checkout.command("dvc", "metrics", "show", "--json").stdout
    # DVC's JSON holds one entry a revision; without one it is the workspace.
    (workspace,) = json.loads(shown).values()
    metrics = workspace["data"]["reports/mlp/metrics.json"]["data"]
    assert metrics == checkout.json("reports/mlp/metrics.json")
    checkout.dvc("plots", "show")
    page = (checkout.folder / "dvc_plots/index.html").read_text()
    for part in ("Confusion on the test images", "Validation accuracy", "mistakes.png"):
        assert part in page


def test_the_summary_says_what_was_selected_and_what_to_type_next(checkout: Checkout) -> None:
    said = checkout.command("digits", "summary").stdout
    selected = checkout.json("reports/selected.json")
    accuracy = checkout.json(f"reports/{selected['model']}/metrics.json")["accuracy"]
    assert f"{selected['model']}, version {selected['version']}" in said
    assert f"{accuracy:.2%} of {NUM_TEST} test images" in said
    assert all(f"make {target}" in said for target in ("serve", "ui", "sweep"))


def test_the_bento_of_the_selected_run_is_in_the_store(story: Story) -> None:
    store = story.checkout.home / "bentoml/bentos/digits"
    built = [json.loads(path.read_text()) for path in store.glob("*/**/served/lineage.json")]
    selected = story.checkout.json("reports/selected.json")
    assert selected["run_id"] in {lineage["run_id"] for lineage in built}
    assert story.checkout.json("served/lineage.json")["run_id"] == selected["run_id"]


def test_mlflow_has_the_test_scores_the_pictures_and_the_champion(
    story: Story, checkout: Checkout
) -> None:
    for model in ("mlp", "cnn"):
        run = story.mlflow.get_run(checkout.json(f"models/{model}/run.json")["run_id"])
        assert run.info.status == "FINISHED"
        accuracy = checkout.json(f"reports/{model}/metrics.json")["accuracy"]
        assert run.data.metrics["test/accuracy"] == accuracy
        assert "test_per_class/7.recall" in run.data.metrics
        columns = {f"metrics.`{name}`" for name in run.data.metrics}
        assert columns >= set(overview.view()["selectedColumns"])
        names = {entry.path for entry in story.mlflow.list_artifacts(run.info.run_id)}
        assert names >= {"confusion.png", "mistakes.png", "metrics.json", "bundle", "answers.json"}
        noted = story.mlflow.download_artifacts(run.info.run_id, "answers.json")
        answers_N = np.array(json.loads(Path(noted).read_text())["answers"])
        with np.load(checkout.folder / "data/small/prepared/test.npz") as arrays:
            assert (answers_N == arrays["labels"]).mean() == pytest.approx(accuracy, abs=1e-6)
    version = story.mlflow.get_model_version("digits", str(story.crowned[1]))
    assert version.run_id == story.crowned[0] == checkout.json("reports/selected.json")["run_id"]


def test_a_run_says_which_commit_and_which_images_it_learned_from(story: Story) -> None:
    run = story.mlflow.get_run(story.crowned[0])
    # The results were committed on top of the commit that was checked out for the training.
    head = story.checkout.command("git", "rev-parse", "HEAD~1").stdout.strip()
    assert run.data.tags["git_commit"] == head
    logged = Path(run.info.artifact_uri.removeprefix("file://")) / "dvc.lock"
    prepared = story.checkout.yaml("dvc.lock")["stages"]["prepare"]
    assert yaml.safe_load(logged.read_text())["stages"]["prepare"] == prepared
    (md5,) = [
        out["md5"] for out in prepared["outs"] if out["path"] == "data/small/prepared/train.npz"
    ]
    assert run.data.tags["dvc.data/small/prepared/train.npz"] == md5


def test_the_selection_holds_no_test_score(story: Story) -> None:
    text = (story.checkout.folder / "reports/selected.json").read_text()
    selected = json.loads(text)
    assert set(selected["candidates"][0]) == {
        "name",
        "accuracy",
        "num_images",
        "num_parameters",
        "run_id",
        "git_commit",
        "train_s",
        "trainer",
        "epochs",
        "stand_in",
    }
    assert {candidate["num_images"] for candidate in selected["candidates"]} == {VAL_SIZE}
    assert "test" not in text


def test_no_pickle_is_left_anywhere(story: Story) -> None:
    folders = ("models", "served", "mlartifacts", "data/small/prepared")
    files = [
        path
        for folder in folders
        for path in (story.checkout.folder / folder).rglob("*")
        if path.is_file()
    ]
    assert len(files) > 20
    for path in files:
        inside = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
        for name in (path.name, *inside):
            assert not name.endswith((".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin")), path
        assert path.read_bytes()[:2] not in (b"\x80\x02", b"\x80\x04", b"\x80\x05"), path
