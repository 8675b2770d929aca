"""The benchmark of times to accuracies, on a few images: what it writes, and that it goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

import time_to_accuracy
import trainings
from training_fixtures import Project


def example(*accuracies: float, epochs_s: list[float]) -> dict[str, Any]:
    return {"accuracies": list(accuracies), "epochs_s": epochs_s}


def test_the_example_has_reached_what_the_mean_of_its_seeds_has_reached() -> None:
    rows = [example(0.98, 0.991, 0.992, epochs_s=[10, 20, 30])]
    rows += [example(0.985, 0.988, 0.991, epochs_s=[20, 30, 40])]
    assert time_to_accuracy.time_to(rows, 0.98) == (15, 1)
    assert time_to_accuracy.time_to(rows, 0.99) == (75, 3)
    assert time_to_accuracy.time_to(rows, 0.995) is None


def test_the_table_sets_a_preset_beside_the_example(tmp_path: Path) -> None:
    shared = {"num_parameters": 7850, "seed": 1}
    results = trainings.Results(tmp_path / "none.json", "")
    results.rows = [
        {"name": "speed_99", "accuracy": 0.9912, "train_s": 5.0, **shared},
        {"name": "speed_99_5", "accuracy": 0.9951, "train_s": 20.0, **shared},
        {
            "name": "example",
            "accuracy": 0.991,
            "train_s": 60.0,
            **example(0.98, 0.991, epochs_s=[30, 30]),
            **shared,
        },
    ]
    _, _, first, second, last = time_to_accuracy.table(results).splitlines()
    assert first == "| 99.0 | speed_99 | 7,850 | 99.12 | 5.0 | 1 | 60 (epoch 2) | 12 |"
    assert second == "| 99.5 | speed_99_5 | 7,850 | 99.51 | 20.0 | 1 | never in 60 | > 3.0 |"
    assert last == "|  | the example | 7,850 | 99.10 | 60.0 | 1 |  |  |"


@pytest.mark.filterwarnings("ignore")  # MLflow and Lightning warn of what they use of others
def test_presets_and_the_example_are_measured_once_each(
    bench_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        time_to_accuracy.main(["--presets", "speed_99", "--seeds", "1", "--epochs", "1"])
    said = capsys.readouterr().out
    assert said.count("measured already") == 2
    rows = json.loads(Path("bench/time_to_accuracy.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["example", "speed_99"]
    assert all(row["train_s"] > 0 and 0 <= row["accuracy"] <= 1 for row in rows)
    written = Path("docs/time-to-accuracy.md").read_text()
    assert "| 99.0 | speed_99 | 18,730 |" in written
