"""The gate: what becomes of the champion's folder, of the registry, and what is said."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from digits.runs import history, registry
from drawn import drawn_set
from gate_fixtures import GATE, aliases, crowned, judge, learnt, select
from serving_fixtures import DETAILS
from stores import new_store

pytestmark = [
    # MLflow's SQL store uses what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
    # MLflow's own code, as it loads.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred"),
]


def test_the_first_is_champion_a_worse_one_stays_out_and_a_better_one_is_crowned(
    store: MlflowClient,
) -> None:
    first = select(seed=1)
    assert judge()["reason"] == "there was no champion"
    assert crowned() == first
    assert aliases(store) == {"champion": "1"}

    second = select(seed=2)
    verdict = judge()
    assert not verdict["promoted"]
    assert verdict["reason"].startswith("not shown to be better: ")
    assert (verdict["selected"]["run_id"], verdict["champion"]["run_id"]) == (second, first)
    assert verdict["paired"]["num"] == 300
    assert {guard["name"] for guard in verdict["guards"]} >= {"worst_class", "ece", "latency_ms"}
    assert crowned() == first
    assert aliases(store) == {"champion": "1", "challenger": "2"}
    assert store.get_model_version(registry.MODEL, "2").tags["gate.reason"] == verdict["reason"]

    third = select(weights=learnt())
    verdict = judge()
    assert verdict["promoted"], verdict["reason"]
    assert crowned() == third
    assert aliases(store) == {"champion": "3", "challenger": "2"}
    assert Path("champion/bundle/model.onnx").read_bytes() == (
        Path("models/tiny/bundle/model.onnx").read_bytes()
    )
    assert json.loads(Path("champion/verdict.json").read_text()) == verdict
    assert json.loads(Path("champion/details.json").read_text()) == DETAILS


def test_the_same_state_gives_the_same_verdict(store: MlflowClient) -> None:
    select(seed=1)
    judge()
    select(seed=2)
    first, second = judge(), judge()
    for verdict in (first, second):  # but for what a clock says
        verdict["guards"] = [one for one in verdict["guards"] if one["name"] != "latency_ms"]
    assert first == second


def test_judging_the_champion_again_changes_nothing(store: MlflowClient) -> None:
    run_id = select(seed=1)
    judge()
    assert judge()["reason"] == "it was chosen again, and stays"
    assert crowned() == run_id
    assert aliases(store) == {"champion": "1"}


def test_the_same_model_trained_again_is_the_champion_with_its_newer_run(
    store: MlflowClient,
) -> None:
    select(seed=1)
    judge()
    again = select(seed=1)
    verdict = judge()
    assert verdict["reason"] == "the champion byte for byte, trained again"
    assert crowned() == again
    assert aliases(store) == {"champion": "2"}


def test_a_stand_in_never_replaces_a_real_one_and_is_replaced_by_any(store: MlflowClient) -> None:
    select(seed=1, dataset="optdigits", stand_in=True)
    judge()
    real = select(seed=2)
    assert judge()["reason"] == (
        "the one before reads optdigits of 28x28 pixels, this one mnist of 28x28 pixels"
    )
    assert crowned() == real
    select(dataset="optdigits", stand_in=True, weights=learnt())
    verdict = judge()
    assert (verdict["promoted"], verdict["reason"]) == (
        False,
        "trained on a stand-in, and the champion was not; "
        '`digits promote v3 --because "..."` makes it champion',
    )
    assert crowned() == real


def test_how_the_champion_became_it_stays_on_record(store: MlflowClient) -> None:
    select(seed=1)
    judge()
    select(weights=learnt())
    reason = judge()["reason"]
    assert judge()["reason"] == "it was chosen again, and stays"
    assert json.loads(Path("champion/verdict.json").read_text())["reason"] == reason
    assert store.get_model_version(registry.MODEL, "2").tags["gate.reason"] == reason
    assert [entry.version for entry in history.read()] == [1, 2]


def test_a_champion_chosen_again_has_no_verdict_of_one_that_was_kept_out(
    store: MlflowClient,
) -> None:
    champion = select(seed=1)
    judge()
    kept = shutil.copytree(Path("models"), Path("kept")), Path("reports/selected.json").read_text()
    select(seed=2)
    assert not judge()["promoted"]
    shutil.rmtree("models")
    kept[0].rename("models")
    Path("reports/selected.json").write_text(kept[1])
    judge()
    verdict = json.loads(Path("champion/verdict.json").read_text())
    assert (verdict["selected"]["run_id"], verdict["promoted"]) == (champion, True)


def test_the_version_is_the_one_of_this_registry_not_of_the_one_that_selected(
    store: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    select(seed=1)
    run_id = select(seed=2)
    chosen = Path("reports/selected.json")
    chosen.write_text(json.dumps(json.loads(chosen.read_text()) | {"version": 1}))
    judge()
    assert aliases(store) == {"champion": "2"}
    shutil.rmtree("champion")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "empty.db"))
    assert judge()["selected"]["version"] is None
    assert (crowned(), registry.champion()) == (run_id, None)


def test_a_model_that_mlflow_does_not_know_leaves_its_champion_alone(
    store: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = select(seed=1)
    judge()
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "elsewhere.db"))
        select(weights=learnt())
    verdict = judge()
    assert (verdict["promoted"], verdict["reason"]) == (
        False,
        "MLflow, which has a champion, does not know this model's run; "
        "`dvc repro -sf train@tiny` and then `make repro` train it here",
    )
    assert (crowned(), registry.champion()) == (first, (1, first))
    assert [entry.version for entry in history.read()] == [1]

    select(weights=learnt())
    store.delete_model_version(registry.MODEL, "2")
    assert judge()["reason"] == (
        "MLflow, which has a champion, has no version of this model; "
        "`dvc repro -sf select gate` makes one"
    )
    assert (crowned(), registry.champion()) == (first, (1, first))


def test_other_calibration_is_another_model(store: MlflowClient) -> None:
    select(seed=1)
    judge()
    select(seed=1, temperature=9.0)
    verdict = judge()
    assert not verdict["promoted"]
    assert verdict["paired"]["difference"] == 0


def test_a_champion_of_other_images_gives_way(store: MlflowClient, tmp_path: Path) -> None:
    select(seed=1)
    judge()
    images_NHW, labels_N = drawn_set(300, seed=99)
    np.savez(tmp_path / "test.npz", images=images_NHW, labels=labels_N)
    select(seed=2)
    assert judge()["reason"] == "the one before is of other test images"
    select(seed=3, size=8)
    assert judge()["reason"] == (
        "the one before reads mnist of 28x28 pixels, this one mnist of 8x8 pixels"
    )


@pytest.mark.parametrize("damage", ["{", "{}", None])
def test_a_damaged_champion_is_said_with_what_to_do(
    store: MlflowClient, damage: str | None
) -> None:
    select(seed=1)
    judge()
    if damage is None:
        Path("champion/bundle/model.onnx").unlink()
    else:
        Path("champion/champion.json").write_text(damage)
    with pytest.raises(ValueError, match=r"the champion is damaged: .*`dvc checkout champion`"):
        judge()


def test_a_folder_without_labelled_images_is_no_guard(
    store: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "wild"
    folder.mkdir()
    monkeypatch.setattr("gate_fixtures.GATE", replace(GATE, wild=str(folder)))
    select(seed=1)
    judge()
    for content in (None, "file,label\nnone.png,-1\ngone.png,3\n"):
        if content:
            (folder / "labels.csv").write_text(content)
        select(seed=2)
        assert "wild_accuracy" not in {guard["name"] for guard in judge()["guards"]}


def test_what_is_missing_is_said_and_the_champion_stays(store: MlflowClient) -> None:
    first = select(seed=1)
    judge()
    select("other", seed=2)
    Path("reports/other/metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match="dvc repro evaluate"):
        judge()
    assert crowned() == first


def test_labelled_images_from_outside_are_a_guard_where_they_are_there(
    store: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    images_NHW, labels_N = drawn_set(20, seed=7)
    folder = tmp_path / "wild" / "drawn"
    folder.mkdir(parents=True)
    rows = ["file,label"]
    for index, (image_HW, label) in enumerate(zip(images_NHW, labels_N, strict=True)):
        Image.fromarray(255 - image_HW).save(folder / f"{index}.png")
        rows.append(f"{index}.png,{label}")
    (folder / "none.png").write_bytes(b"no image")
    (folder / "labels.csv").write_text("\n".join([*rows, "none.png,-1"]))
    monkeypatch.setattr("gate_fixtures.GATE", replace(GATE, wild=str(tmp_path / "wild")))
    select(weights=learnt())
    judge()
    select(seed=2)
    (guard,) = [one for one in judge()["guards"] if one["name"] == "wild_accuracy"]
    assert guard["champion"] > 0.4
    assert not guard["held"]
