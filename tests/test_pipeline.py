"""The real pipeline, run by the real DVC, on a small data set that one file describes."""

import re
import shutil
from pathlib import Path

import pytest

from checkout import NUM_TEST, NUM_TRAIN, VAL_SIZE, Checkout
from pipeline_fixtures import Story

pytestmark = [
    # Building the story takes most of this: the first test to ask for it waits.
    pytest.mark.timeout(600),
    # MLflow's SQL store asks SQLAlchemy for something that it no longer recommends.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
]


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


def test_a_training_by_hand_is_adopted_and_the_pipeline_repeats_it_to_the_byte(
    checkout: Checkout,
) -> None:
    asked = ("model=mlp", "seed=5", "optimizer.lr=0.002", "augment=none")
    checkout.command("python", "-m", "digits.train", *asked, "out=outputs/by_hand")
    found = checkout.json("outputs/by_hand/run.json")
    checkout.command("digits", "adopt", found["run_id"], "--name", "found")
    ran = checkout.dvc("repro", "compose", "train@found", "evaluate@found").ran
    assert ran == {"compose", "train@found", "evaluate@found"}
    by_hand, repeated = (checkout.folder / "outputs/by_hand", checkout.folder / "models/found")
    for name in ("bundle/model.onnx", "bundle/weights.safetensors"):
        assert (by_hand / name).read_bytes() == (repeated / name).read_bytes(), name
    meta = checkout.json("models/found/bundle/model.json")
    assert meta["validation"] == checkout.json("outputs/by_hand/bundle/model.json")["validation"]
    for folder in ("models/found", "reports/found"):  # no stage of the next test's has them
        shutil.rmtree(checkout.folder / folder)


def test_the_data_set_is_part_of_what_is_composed(checkout: Checkout) -> None:
    checkout.edit("params.yaml", "name: small", "name: mnist")
    assert checkout.dvc("repro", "compose").ran == {"compose"}
    assert checkout.yaml("composed/mlp.yaml")["data"] == "mnist"
    checkout.edit("params.yaml", "name: mnist", "name: small")
    checkout.dvc("repro", "compose")
    assert checkout.yaml("composed/mlp.yaml")["data"] == "small"


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
