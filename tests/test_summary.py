"""`digits summary`, before and after the pipeline ran."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from digits.commands import main
from serving_fixtures import SELECTED
from training_fixtures import ROOT


def digits(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_a_summary_before_any_run_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = digits("summary")
    assert elsewhere.exit_code == 2
    assert elsewhere.stderr.endswith(
        "is not the project's folder, it has no params.yaml; go there\n"
    )
    Path("params.yaml").touch()
    result = digits("summary")
    assert result.exit_code == 1
    assert result.stderr == "Error: reports/selected.json is missing; run `make repro`\n"


def test_a_summary_in_a_fresh_clone_says_what_answers_meanwhile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("reports", "released"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").touch()
    result = digits("summary")
    assert result.exit_code == 1
    selected = json.loads((ROOT / "reports/selected.json").read_text())
    released = json.loads((ROOT / "released/lineage.json").read_text())
    metrics = released["metrics"]
    assert result.stderr == (
        f"Error: models/{selected['model']}/run.json is missing; run `make repro`; until then "
        f"`make serve` and `digits predict` answer with the released {released['name']}, "
        f"{metrics['accuracy']:.2%} of {metrics['num_images']:,} test images\n"
    )


RULING = {"name": "cnn", "version": 2, "run_id": "other"}


@pytest.mark.parametrize(
    ("fallback", "verdict", "said"),
    [
        (
            False,
            {"promoted": True, "reason": "there was no champion", "champion": None},
            "champion   yes: there was no champion",
        ),
        (
            True,
            {"promoted": False, "reason": "not shown to be better", "champion": RULING},
            "champion   cnn, version 2, which is served; not this one: not shown to be better",
        ),
        (
            False,
            {"reason": "promote: our sevens", "champion": RULING, "selected": RULING},
            "champion   cnn, version 2, which is served (promote: our sevens); not this one",
        ),
    ],
)
def test_the_summary_says_what_was_selected_and_warns_of_a_stand_in(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fallback: bool,
    verdict: dict[str, Any],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    metrics = {"accuracy": 0.995, "accuracy_low": 0.994, "accuracy_high": 0.996}
    files = {
        "reports/selected.json": SELECTED,
        "reports/tiny/metrics.json": {**metrics, "num_images": 10_000, "latency_ms": 0.08},
        "models/tiny/run.json": {"train_s": 41.4, "trainer": "cpu bf16-mixed"},
        "reports/data.json": {"name": "x", "requested": "mnist", "fallback": fallback},
        "champion/verdict.json": {"selected": SELECTED, **verdict},
        "champion/champion.json": verdict["champion"] or SELECTED,
    }
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(content))
    result = digits("summary")
    assert result.exit_code == 0
    for part in (
        "tiny, version 3",
        said,
        SELECTED["reason"],
        "99.50% of 10,000 test images (95 % interval 99.40% to 99.60%)",
        "41 s to train on cpu bf16-mixed, 0.08 ms to read one image",
        "make serve",
    ):
        assert part in result.stdout
    assert ("mnist could not be fetched" in result.stdout) is fallback
