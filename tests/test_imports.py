"""Imports run downward, and a module loads no more than it needs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "torchvision", "pytorch_lightning", "mlflow", "hydra", "dvc", "matplotlib")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter on the package in a folder, as `make check` runs it."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder / "src"), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_every_contract_is_kept() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("digits/evaluate.py", "from digits import prepare"),
        ("digits/scores.py", "from digits import evaluate"),
        ("digits/serving/limits.py", "import digits.runs.tracking"),
        ("digits/files.py", "import torch"),
        ("digits/reporting/figures.py", "import mlflow"),
        ("digits/reading/planes.py", "import matplotlib"),
    ],
)
def test_an_import_that_runs_upward_or_too_far_is_found(
    copied: Path, module: str, line: str
) -> None:
    path = copied / "src" / module
    path.write_text(f"{path.read_text()}\n{line}\n")
    result = lint(copied)
    assert result.returncode != 0
    assert "BROKEN" in result.stdout


def loaded(*modules: str) -> tuple[set[str], float]:
    """What a fresh Python has loaded after these imports, and the processor seconds it took."""
    code = (
        "import json, sys, time\n"
        f"import {', '.join(modules)}\n"
        "print(json.dumps([sorted(sys.modules), time.process_time()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    names, seconds = json.loads(done.stdout)
    return set(names), seconds


def test_reading_and_serving_load_nothing_that_trains() -> None:
    names, _ = loaded("digits.reading.normalize", "digits.reading.predictor", "digits.serving.app")
    assert "onnxruntime" in names
    assert names & {*HEAVY, "sklearn", "scipy", "onnx"} == set()


@pytest.mark.parametrize(
    "stage", ["fetch", "prepare", "compose", "evaluate", "selection", "package", "train", "cli"]
)
def test_a_stage_starts_at_once_and_loads_what_is_heavy_when_it_is_needed(stage: str) -> None:
    names, seconds = loaded(f"digits.{stage}")
    allowed = {"hydra"} if stage in ("compose", "train") else set()
    assert names & {*HEAVY} == allowed
    # Processor time, so that other programs on this machine count for little.
    assert seconds < 2
