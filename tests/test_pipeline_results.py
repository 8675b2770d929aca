"""What the real pipeline leaves behind: metrics, pictures, runs, a Bento, and no pickle."""

import json
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from checkout import NUM_TEST, VAL_SIZE, Checkout
from digits.runs import overview
from pipeline_fixtures import Story

pytestmark = [
    # Building the story takes most of this: the first test to ask for it waits.
    pytest.mark.timeout(600),
    # MLflow's SQL store asks SQLAlchemy for something that it no longer recommends.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
]


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
        columns |= {f"tags.`{name}`" for name in run.data.tags}
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


def killed_once_changed(checkout: Checkout, path: str, *words: str) -> None:
    """Run a command and kill it, as a power cut would, once the file is another than before."""
    file = checkout.folder / path

    def content() -> bytes | None:
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return None

    before = content()
    process = subprocess.Popen(words, cwd=checkout.folder, env=checkout.env)
    while content() in (before, None):
        assert process.poll() is None, f"{words} ended before {path} changed"
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_a_promotion_that_is_killed_is_made_whole_by_the_next_command(
    story: Story, checkout: Checkout
) -> None:
    (other,) = {"mlp", "cnn"} - {checkout.json("reports/selected.json")["model"]}
    checkout.dvc("exp", "run", "-S", f"candidates=[{other}]", "select")
    selected = checkout.json("reports/selected.json")
    promoted = (selected["run_id"], selected["version"])
    for seen in ("champion.pending.json", "champion/champion.json", "served/lineage.json"):
        words = ("digits", "promote", f"v{promoted[1]}", "--because", "it is tried")
        killed_once_changed(checkout, seen, *words)
        after = checkout.command("digits", "history", "--json")
        assert after.stderr == "finished what was interrupted: promote\n", seen
        latest = json.loads(after.stdout.splitlines()[0])
        assert (latest["what"], latest["version"]) == ("promote", promoted[1])
        for path in ("champion/champion.json", "served/lineage.json"):
            about = checkout.json(path)
            assert (about["run_id"], about["version"]) == promoted, (seen, path)
        assert story.champion() == promoted
        assert not (checkout.folder / "champion.pending.json").exists()
        checkout.command("digits", "rollback", "--because", "it was tried")
        assert story.champion() == story.crowned
