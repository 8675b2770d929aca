"""The committed card is of the model that is served, and says what was measured of another."""

import json
from typing import Any

import pytest

import model_card
from test_card import META, METRICS

DETAILS = ("per_class", "corrupted_accuracy")
SCORES = {key: METRICS[key] for key in METRICS if key not in DETAILS}
SERVED = {"name": "cnn", "version": 4, "run_id": "0123", "git_commit": "abc", "metrics": SCORES}
CANDIDATE = {"name": "cnn", "run_id": "0123", "train_s": 720.0, "trainer": "cpu", "epochs": 11}
WILD = {
    "model": {"name": "cnn", "version": 4, "run_id": "0123", "data_digest": "sha256:ab"},
    "sets": {
        "pen": {"num_digits": 200, "accuracy": 0.995, "refused": 0.01},
        "letters": {"num_others": 300, "others_accepted": 0.05},
    },
}


def written(**changes: Any) -> str:
    """The figures of files as the pipeline leaves them, with some of them changed or gone."""
    files: dict[str, Any] = {
        "served/lineage.json": SERVED | {"data_digest": "sha256:ab"},
        "served/model.json": META,
        "reports/selected.json": {"model": "cnn", "run_id": "0123", "candidates": [CANDIDATE]},
        "served/details.json": {key: METRICS[key] for key in DETAILS},
        "reports/data.json": {"digest": "sha256:ab", "licence": "CC0", "num_train": 55000},
        "bench/wild.json": WILD,
    } | changes
    known = {path: json.dumps(content) for path, content in files.items() if content is not None}
    return model_card.figures(known.get)


def test_it_has_all_that_was_measured_of_the_served_model() -> None:
    text = written()
    for part in (
        "Model `cnn`, version 4: 76,283 parameters, run `0123`, commit `abc`.",
        "Trained on 55,000 images, 11 epochs, in 720 s",
        "Licence of the images: CC0",
        "| 0 | 100 | 75.00% | 65.70% to 82.45% | 50.00% |",
        "| shot noise | 1,001 | 90.00% | 87.99% to 91.71% |",
        "| pen, read right | 200 | 99.50% | 97.22% to 99.91% |",
        "| pen, refused | 200 | 1.00% | 0.27% to 3.57% |",
        "| letters, accepted | 300 | 5.00% | 3.05% to 8.08% |",
    ):
        assert part in text
    assert "Not measured" not in text
    assert "not served" not in text


def test_where_nothing_is_packaged_it_is_of_what_came_with_the_project() -> None:
    released = SERVED | {"version": 3, "data_digest": "sha256:ab"}
    gone = dict.fromkeys(("served/lineage.json", "served/model.json", "served/details.json"))
    text = written(**gone, **{"released/lineage.json": released, "released/model.json": META})
    assert "version 3" in text
    assert "By class: not measured" in text


def test_another_model_that_was_selected_is_not_the_one_described() -> None:
    selected = {"model": "mlp", "run_id": "4567", "candidates": [CANDIDATE | {"run_id": "4567"}]}
    text = written(**{"reports/selected.json": selected})
    assert "selected another, `mlp` of run `4567`, which is not served" in text
    assert "| read right | 1,001 | 99.00% |" in text
    assert "| shot noise | 1,001 | 90.00% |" in text
    assert "How it was trained is in its run; it is not in `reports/`." in text


@pytest.mark.parametrize("of_another", [True, False])
def test_what_was_not_measured_outside_is_said(of_another: bool) -> None:
    other = WILD | {"model": WILD["model"] | {"run_id": "4567", "version": 3}}
    text = written(**{"bench/wild.json": other if of_another else None})
    said = (
        "Not measured of this model. These figures are of another: `cnn`, version 3, run `4567`, "
        "which learnt from `sha256:ab`."
        if of_another
        else "Not measured: there is no `bench/wild.json`"
    )
    assert said in text
    assert ("| pen, read right |" in text) is of_another
