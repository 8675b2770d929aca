"""The choice among candidates, from validation alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from digits import selection
from digits.selection import Candidate, choose
from stores import new_store


def candidate(
    name: str, accuracy: float, num_parameters: int, num_images: int = 10_000
) -> Candidate:
    return Candidate(
        name=name,
        accuracy=accuracy,
        num_images=num_images,
        num_parameters=num_parameters,
        run_id=f"run-{name}",
        git_commit=None,
        train_s=1.0,
        trainer="cpu 32-true",
        epochs=11,
        stand_in=False,
    )


def write_candidate(models: Path, name: str, accuracy: float, num_parameters: int) -> Path:
    bundle = models / name / "bundle"
    bundle.mkdir(parents=True)
    meta = {
        "num_parameters": num_parameters,
        "validation": {"accuracy": accuracy, "num": 5000},
        "lineage": {"fallback": False},
    }
    (bundle / "model.json").write_text(json.dumps(meta))
    run: dict[str, Any] = {
        "run_id": f"run-{name}",
        "git_commit": "abc",
        "train_s": 1.0,
        "trainer": "cpu",
    }
    (models / name / "run.json").write_text(json.dumps(run))
    return models / name


def test_the_best_on_validation_is_chosen_whatever_the_order() -> None:
    good, bad = candidate("good", 0.99, 900), candidate("bad", 0.95, 100)
    for order in ([good, bad], [bad, good]):
        chosen, reason = choose(order)
        assert chosen is good
    assert (
        reason
        == "good is the best on validation, with 99.00% of 10,000 validation images (bad 95.00%)"
    )


def test_of_equals_the_smallest_is_chosen() -> None:
    large, small = candidate("large", 0.99, 900), candidate("small", 0.99, 100)
    chosen, reason = choose([large, small])
    assert chosen is small
    assert reason.startswith("small is the smallest of the best on validation, with 99.00% of ")


def test_the_smallest_within_one_standard_error_is_chosen() -> None:
    # The standard error of 0.99 on 10,000 images is 0.000995.
    best = candidate("best", 0.99, 900)
    within, beyond = candidate("within", 0.9891, 100), candidate("beyond", 0.9889, 10)
    chosen, reason = choose([best, within, beyond])
    assert chosen is within
    assert "fewest parameters (100)" in reason
    assert "one standard error (0.10%) of the best, best (99.00%)" in reason


def test_fewer_images_make_the_standard_error_wider() -> None:
    best, small = (
        candidate(n, a, p, 100) for n, a, p in (("best", 0.99, 900), ("small", 0.982, 1))
    )
    assert choose([best, small])[0] is small


def test_a_tie_goes_to_fewer_parameters_and_then_to_the_more_accurate() -> None:
    large, small = candidate("large", 0.99, 900), candidate("small", 0.99, 100)
    assert choose([large, small])[0] is small
    better, worse = candidate("better", 0.9899, 100), candidate("worse", 0.9895, 100)
    assert choose([large, worse, better])[0] is better


def test_a_perfect_best_has_no_standard_error_to_hide_in() -> None:
    perfect, near = candidate("perfect", 1.0, 900), candidate("near", 0.9999, 1)
    assert choose([perfect, near])[0] is perfect


def test_a_single_candidate_is_chosen_and_called_so() -> None:
    chosen, reason = choose([candidate("only", 0.5, 1)])
    assert chosen.name == "only"
    assert "the only candidate" in reason


# MLflow's SQL store asks SQLAlchemy for something that it no longer recommends.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
def test_only_listed_candidates_and_no_report_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "empty.db"))
    monkeypatch.chdir(tmp_path)
    models, out = tmp_path / "models", tmp_path / "reports" / "selected.json"
    # On test images, the other way round; and the one that nobody asked for beats both.
    for name, validation, test in (("a", 0.95, 0.99), ("b", 0.9, 0.999), ("unlisted", 1, 1)):
        write_candidate(models, name, validation, 10)
        (out.parent / name).mkdir(parents=True)
        scores = {"accuracy": test, "num_errors": round(10_000 * (1 - test)), "num_images": 10_000}
        (out.parent / name / "metrics.json").write_text(json.dumps(scores))
    selected = selection.run(candidates=("a", "b"), models=models, out=out)
    assert json.loads(out.read_text()) == selected
    assert (selected["model"], selected["run_id"]) == ("a", "run-a")
    # The run is in no store, as after a checkout of somebody else's results.
    assert selected["version"] is None
    # A report that cannot be read is no obstacle to who reads none.
    (out.parent / "a" / "metrics.json").write_text("{")
    assert selection.run(candidates=("a", "b"), models=models, out=out) == selected


def test_a_candidate_that_is_not_trained_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"'gone' is not trained: .*dvc repro train@gone"):
        selection.read_candidate(tmp_path / "gone", "gone")
    model = write_candidate(tmp_path, "half", 0.9, 1)
    (model / "run.json").write_text('{"run_id"')
    with pytest.raises(ValueError, match=r"half/run.json is damaged .*dvc repro -sf train@half"):
        selection.read_candidate(model, "half")
    (model / "run.json").write_text('{"run_id": "1"}')
    with pytest.raises(ValueError, match="'half' is damaged: it has no 'git_commit'"):
        selection.read_candidate(model, "half")
