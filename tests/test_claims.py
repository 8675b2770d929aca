"""What the project promises, held against the committed figures; each names its command."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

import accuracy
import time_to_accuracy
import trainings

ROOT = Path(__file__).resolve().parents[1]
NEED_NO_TORCH = ("fetch", "compose", "evaluate", "selection", "package")


def figures(path: str) -> Any:
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("model", "least"), [("cnn", 0.995), ("mlp", 0.982)])
def test_a_candidate_reads_the_test_images_it_promises_to(model: str, least: float) -> None:
    metrics = figures(f"reports/{model}/metrics.json")
    assert metrics["num_images"] == 10_000
    assert metrics["accuracy"] >= least


def test_the_default_reads_corrupted_digits_and_knows_how_sure_it_may_be() -> None:
    metrics = figures("reports/cnn/metrics.json")
    assert metrics["mean_corrupted_accuracy"] >= 0.94
    assert metrics["ece"] <= 0.003
    assert metrics["num_parameters"] <= 150_000


def test_the_default_reads_what_people_draw_scan_and_photograph() -> None:
    """By `make wild`, with the packaged model."""
    wild = figures("bench/wild.json")
    assert wild["model"]["run_id"] == figures("reports/selected.json")["run_id"]
    sets = wild["sets"]
    for name, least in (("strokes", 0.99), ("photo", 0.98), ("pen", 1.0), ("optdigits", 0.988)):
        assert sets[name]["accuracy"] >= least, name
    refused = sum(row["refused"] * row["num_digits"] for row in sets.values() if "refused" in row)
    assert refused / sum(row.get("num_digits", 0) for row in sets.values()) <= 0.05
    assert sets["nondigits"]["others_accepted"] <= 0.08
    assert figures("reports/cnn/metrics.json")["refused_share"] <= 0.01


def test_the_normaliser_costs_frames_of_mnist_nothing_that_counts() -> None:
    """By `python bench/normalizer.py`, with the packaged model."""
    measured = figures("bench/normalizer.json")
    assert measured["model"]["run_id"] == figures("reports/selected.json")["run_id"]
    assert measured["num_images"] == 10_000
    lined = {"on ruled paper", "on squared paper"}
    assert lined < {*measured["normalised"]}
    for way, row in measured["normalised"].items():
        assert row["lost_points"] <= (0.2 if way in lined else 0.05), way


def test_the_page_reads_what_was_drawn_on_it() -> None:
    """By `python bench/page.py`, in chromium, with the packaged model."""
    measured = figures("bench/page.json")
    assert measured["model"]["run_id"] == figures("reports/selected.json")["run_id"]
    assert measured["num_drawings"] >= 198
    assert measured["accuracy"] >= 0.99


def served(service: str, load: str, key: str, *, clients: int = 16) -> float:
    """A figure of `python bench/serving.py`."""
    rows = figures("bench/serving.json")["services"][service]["rows"]
    (found,) = [row for row in rows if (row["load"], row["clients"]) == (load, clients)]
    return float(found[key])


def test_the_service_is_as_fast_as_it_promises() -> None:
    """By `python bench/serving.py`."""
    alone = figures("bench/serving.json")
    one = served("ours", "1 frames as bytes", "requests_per_s")
    assert served("ours", "1 frames as bytes", "p99_ms") < 20
    for other in ("mlflow models serve", "plain BentoML"):
        assert one >= 3 * served(other, "1 frames as JSON", "requests_per_s"), other
    fastapi = served("minimal FastAPI", "1 frames as bytes", "requests_per_s", clients=64)
    assert served("ours", "1 frames as bytes", "requests_per_s", clients=64) >= 0.6 * fastapi
    many = served("ours", "64 frames as bytes", "images_per_s")
    assert many >= 0.8 * alone["onnxruntime_alone_images_per_s"]
    for load in ("a 28x28 PNG", "a 280x280 PNG"):
        assert served("ours", load, "requests_per_s") >= 1_000
    assert alone["services"]["ours"]["start_s"] <= 5
    taken_ms = alone["decode_and_normalize_ms"]
    assert taken_ms["280x280 PNG"] <= 2  # a large digit; a small one and a row take longer
    assert max(taken_ms[name] for name in taken_ms if name.startswith("12-megapixel JPEG")) <= 80


@pytest.mark.parametrize(
    ("model", "least", "most_parameters"),
    [
        ("linear", 0.92, 7_850),
        ("simple_mlp", 0.96, 2_410),
        ("mlp", 0.97, 118_282),
        ("wide_mlp", 0.9813, 407_050),
        ("lenet5", 0.9920, 61_706),
        ("convnet", 0.9917, 93_322),
        ("vgg_small", 0.9913, 159_254),
        ("adam_cnn", 0.983, 421_642),
        ("tiny", 0.9940, 10_000),
    ],
)
def test_a_model_reads_at_least_what_others_report_of_it(
    model: str, least: float, most_parameters: int
) -> None:
    rows = [row for row in figures("bench/accuracy.json")["rows"] if row["name"] == model]
    assert len({row["seed"] for row in rows}) >= 5
    assert statistics.fmean(row["accuracy"] for row in rows) >= least
    assert max(row["num_parameters"] for row in rows) <= most_parameters


@pytest.mark.parametrize(
    ("preset", "least", "most_s"),
    [("speed_99", 0.99, 8), ("speed_99_5", 0.995, 30), ("speed_99_7", 0.997, 240)],
)
def test_a_preset_reaches_its_accuracy_in_its_time(
    preset: str, least: float, most_s: float
) -> None:
    measured = figures("bench/time_to_accuracy.json")["rows"]
    rows = [row for row in measured if row["name"] == preset]
    assert len({row["seed"] for row in rows}) >= 5
    assert statistics.fmean(row["accuracy"] for row in rows) >= least
    assert statistics.fmean(row["train_s"] for row in rows) <= most_s


def test_what_coarser_exports_cost_is_known_of_the_model_that_is_served() -> None:
    """By `python bench/quantization.py`: float32 is served, and another only if it passes."""
    measured = figures("bench/quantization.json")
    assert measured["model"]["run_id"] == figures("reports/selected.json")["run_id"]
    assert measured["num_known"] == 60_000


def test_cnn_reads_what_it_promises_over_seeds() -> None:
    """99.70 % was asked of the test images: docs/experiments.md says what was tried."""
    rows = [row for row in figures("bench/accuracy.json")["rows"] if row["name"] == "cnn"]
    assert len({row["seed"] for row in rows}) >= 5
    assert statistics.fmean(row["accuracy"] for row in rows) >= 0.995
    assert statistics.fmean(row["mean_corrupted_accuracy"] for row in rows) >= 0.94
    assert statistics.fmean(row["ece"] for row in rows) <= 0.003
    assert max(row["num_parameters"] for row in rows) <= 150_000


def test_the_pages_of_figures_are_those_of_the_committed_trainings() -> None:
    rows = figures("bench/accuracy.json")["rows"]
    assert (ROOT / "docs/accuracy.md").read_text() == accuracy.page(rows)
    results = trainings.Results(ROOT / "bench/time_to_accuracy.json", "")
    assert (ROOT / "docs/time-to-accuracy.md").read_text() == time_to_accuracy.page(results)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_lightning_mlflow_and_hydra_cost_at_most_a_tenth(model: str) -> None:
    measured = figures("bench/overhead.json")[model]
    assert len(measured["pairs"]) >= 3
    assert 0.9 < measured["ratio"] <= 1.10


def test_a_fresh_clone_runs_the_pipeline_within_five_minutes() -> None:
    measured = figures("bench/pipeline.json")
    assert measured["set_up_and_repro_s"] <= 300
    assert measured["unchanged_repro_s"] <= 2


def test_stages_without_torch_start_in_two_seconds() -> None:
    measured = figures("bench/pipeline.json")
    assert max(measured["import_s"][stage] for stage in NEED_NO_TORCH) <= 2


def test_a_training_takes_its_first_step_within_fifteen_seconds() -> None:
    assert figures("bench/pipeline.json")["train_start_up_s"] <= 15


def test_a_sweep_of_short_trainings_costs_little_more_than_they_do() -> None:
    sweep = figures("bench/sweeping.json")
    assert sweep["num_trainings"] >= 20
    assert sweep["runs_s"] / sweep["num_trainings"] <= 11, "they are to be short"
    assert sweep["above_runs"] <= 0.15


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_listing_and_comparing_among_a_thousand_runs_take_less_than_three_seconds(
    store: str,
) -> None:
    """By `python bench/runs.py`: of each command from the start of Python to its last line."""
    measured = figures("bench/runs.json")
    assert measured["command"] == "python bench/runs.py --runs 1000"
    of_store = measured["stores"][store]
    assert len(of_store["questions_s"]) == 4
    assert len(of_store["commands_s"]) == 5
    assert max(*of_store["questions_s"].values(), *of_store["commands_s"].values()) < 3
