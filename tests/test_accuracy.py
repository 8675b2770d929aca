"""The benchmark of accuracies, on a few images: what it writes, and that it goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

import accuracy
from digits import configuration
from training_fixtures import Project

MODELS = ["linear training.epochs=1", "linear training.epochs=2"]


def row(model: str, seed: int, share: float) -> dict[str, Any]:
    keys = ("first_half", "second_half", "val_accuracy", "mean_corrupted_accuracy", "ece")
    scores = dict.fromkeys(keys, 0.5)
    facts = {"name": model, "seed": seed, "num_parameters": 7850, "train_s": 9.0}
    return {**facts, "commit": "0123456789", **scores, "accuracy": share, "val_accuracy": share}


def test_a_line_is_a_model_with_mean_and_spread_over_its_seeds_the_best_last() -> None:
    rows = [row("mlp", 1, 0.98), row("mlp", 2, 0.99), row("linear", 1, 0.9)]
    *_, linear, mlp = accuracy.table(rows).splitlines()
    assert linear.startswith("| linear | 7,850 | 90.00 | 1 |")
    assert mlp.startswith("| mlp | 7,850 | 98.50 ± 0.71 | 2 | 50.00 ± 0.00 |")
    assert mlp.endswith("| 9 | 97 % | 0123456 |")


def test_a_commit_with_changes_to_it_has_a_star() -> None:
    *_, line = accuracy.table([{**row("mlp", 1, 0.98), "commit": "0123456789-dirty"}]).splitlines()
    assert line.endswith("| 0123456* |")


def test_an_ablation_is_told_as_its_difference_from_the_whole_of_the_same_seed() -> None:
    whole = [row("cnn", 1, 0.99), row("cnn", 2, 0.98), row("cnn", 3, 0.5)]
    without = [row("cnn synthetic=none", 1, 0.985), row("cnn synthetic=none", 2, 0.977)]
    *_, line = accuracy.ablation_table([*whole, *without]).splitlines()
    assert line.startswith("| `synthetic=none` | -0.40 ± 0.14 | -0.40 ± 0.14 | +0.00 ± 0.00 | 2 |")
    assert "synthetic=none" in accuracy.page([*whole, *without]).partition("ingredient")[2]


def test_every_ablation_is_a_training_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent)
    configs = []
    for name, *overrides in map(str.split, accuracy.ABLATIONS):
        configs.append(configuration.compose([f"model={name}", *overrides]))
        configuration.check(configs[-1])
        instantiate(configs[-1]["augment"])
        optimizer = instantiate(configs[-1]["optimizer"])([torch.nn.Parameter(torch.ones(1))])
        instantiate(configs[-1]["schedule"])(optimizer, total_steps=10)
    assert len(set(map(configuration.fingerprint, configs))) == len(accuracy.ABLATIONS)


@pytest.mark.filterwarnings("ignore")  # MLflow and Lightning warn of what they use of others
def test_every_training_is_written_down_and_none_is_run_twice(
    bench_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracy.main(["--models", MODELS[0], "--seeds", "1"])
    accuracy.main(["--models", *MODELS, "--seeds", "1", "2"])
    assert f"{MODELS[0]} seed=1: measured already" in capsys.readouterr().out
    rows = json.loads(Path("bench/accuracy.json").read_text())["rows"]
    assert [(row["name"], row["seed"]) for row in rows] == [
        (model, seed) for model in MODELS for seed in (1, 2)
    ]
    assert {row["num_images"] for row in rows} == {30}
    for model in MODELS:
        assert f"| {model} | 7,850 |" in Path("docs/accuracy.md").read_text()
    assert not list(Path("checkpoints").glob("*/*"))
