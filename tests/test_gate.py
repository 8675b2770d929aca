"""The gate: what becomes of the champion's folder, of the registry, and what is said."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from digits.runs import registry
from drawn import drawn_set
from gate_fixtures import GATE, aliases, crowned, judge, learnt, select

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
    assert judge()["reason"] == "it is the champion"
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
    assert judge()["reason"] == "the champion reads optdigits, this one mnist"
    assert crowned() == real
    select(dataset="optdigits", stand_in=True, weights=learnt())
    verdict = judge()
    assert (verdict["promoted"], verdict["reason"]) == (
        False,
        "trained on a stand-in, and the champion was not",
    )
    assert crowned() == real


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
