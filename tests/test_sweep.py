"""A sweep in MLflow: a parent run, its trainings below it, what they came to; and going on."""

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from digits.reporting import figures
from digits.runs import sweeps
from digits.sweeping import plots
from digits.sweeping.groups import Group, best, group, summary
from stores import mlflow_client, new_store
from training_fixtures import TINY, Project, Training, checkpoints

SWEPT = [part for part in TINY if not part.startswith(("seed=", "training.epochs="))]


def child(
    overrides: str,
    accuracy: float | None,
    *,
    status: str = "FINISHED",
    size: int | None = None,
    seed: str | None = None,
    train_s: float | None = None,
) -> sweeps.Child:
    return sweeps.Child(
        run_id=overrides,
        status=status,
        overrides=tuple(overrides.split()),
        val_accuracy=accuracy,
        num_parameters=size,
        seed=seed,
        train_s=train_s,
    )


def test_trainings_that_differ_in_seed_or_fold_alone_are_one_group() -> None:
    groups = group(
        [
            child("model=mlp seed=1", 0.9),
            child("model=cnn seed=1", 0.98),
            child("model=cnn seed=2", 0.96),
            child("model=cnn seed=3", None, status="FAILED"),
            child("model=mlp seed=1 fold=3", 0.8),
        ]
    )
    assert [(each.name, each.accuracies) for each in groups] == [
        ("model=cnn", (0.98, 0.96)),
        ("model=mlp", (0.9, 0.8)),
    ]
    assert str(groups[0]) == "97.00% ± 1.41 (n = 2)"
    wide = group([child(f"model=cnn training.epochs=9 seed={seed}", 0.9) for seed in (1, 2)])
    assert [each.name for each in wide] == ["model=cnn training.epochs=9"]
    rates = group([child(f"model=cnn optimizer.lr={rate}", 0.9 - rate) for rate in (0.1, 0.2)])
    assert [each.name for each in rates] == ["optimizer.lr=0.1", "optimizer.lr=0.2"]
    one = Group(name="a", run_ids=("r",), accuracies=(0.5,), num_parameters=None)
    assert str(one) == "50.00% (n = 1)"


def test_the_same_training_counts_once_whoever_trained_it() -> None:
    """As where a study is gone on with from another folder; without `seed=` it has one, too."""
    (asked,) = group([child("model=cnn seed=1", 0.9), child("seed=1 model=cnn", 0.9)])
    assert str(asked) == "90.00% (n = 1)"
    assert asked.run_ids == ("model=cnn seed=1",)
    (known,) = group(
        [
            child("a=1 seed=1", 0.9, seed="1"),
            child("a=1", 0.9, seed="1"),
            child("a=1", 0.8, seed="2"),  # of another params.yaml
            child("a=1 fold=2", 0.8, seed="1"),
        ]
    )
    assert known.accuracies == (0.9, 0.8, 0.8)


def test_the_summary_names_each_group_the_best_and_what_did_not_finish() -> None:
    groups = group([child("model=cnn seed=1", 0.98, size=1234), child("model=m seed=1", 0.5)])
    failures = ["seed=2: no luck", "seed=3: the disk is full"]
    lines = summary(groups, best(groups), failures=failures, num_given_up=3).splitlines()
    assert [" ".join(line.split()) for line in lines[2:]] == [
        "| model=cnn | 98.00% (n = 1) | 1,234 | best |",
        "| model=m | 50.00% (n = 1) | | |",
        "",
        "3 given up: others were better by then.",
        "2 did not finish:",
        "- seed=2: no luck",
        "- seed=3: the disk is full",
    ]
    assert len({len(line) for line in lines[:4]}) == 1
    many = summary([], [], failures=["seed=1: no luck"] * 23)
    assert "23 did not finish:\n- seed=1: no luck\n" in many
    assert many.endswith("\n- and 3 more.")


def test_the_best_are_those_that_no_other_beats_in_all_that_is_searched_for() -> None:
    groups = group(
        [
            child("model=a", 0.99, size=100, train_s=9.0),
            child("model=b", 0.98, size=100, train_s=5.0),
            child("model=c", 0.97, size=10, train_s=9.0),
            child("model=d", 0.96, size=20, train_s=8.0),
            child("model=e", 0.95, size=200),
        ]
    )

    def names(**objectives: str) -> str:
        return "".join(each.name.removeprefix("model=") for each in best(groups, objectives))

    assert names(val_accuracy="maximize") == "a"
    assert names(val_accuracy="maximize", num_parameters="minimize") == "ac"
    assert names(val_accuracy="maximize", train_s="minimize") == "ab"
    assert names(val_accuracy="maximize", num_parameters="minimize", train_s="minimize") == "abcd"
    assert names(train_s="minimize") == "b"
    assert names(num_parameters="maximize") == "e"
    assert [each.name for each in best(groups)] == ["model=a"]


def test_a_long_name_leaves_room_for_the_picture() -> None:
    figure = figures.box_plot({"x" * 500: [0.9, 0.95]})
    figure.canvas.draw()  # matplotlib warns where nothing is left
    assert figure.axes[0].get_window_extent().width > 200  # pixels, of 900


def test_what_mattered_is_drawn_where_there_is_something_to_see() -> None:
    rates = ("0.001", "0.01", "0.1", "0.5")
    children = [
        child(f"model={model} optimizer.lr={rate} seed=1", 0.9 + float(rate) / 10)
        for model in ("cnn", "mlp")
        for rate in rates
    ]
    drawn = plots.of_search(children)
    assert {*drawn} == {"parallel_coordinates.png", "importances.png"}
    shown = [text.get_text() for text in drawn["importances.png"].axes[0].get_yticklabels()]
    assert shown == ["model", "optimizer.lr"]  # the one that decides is on top
    assert plots.of_search(children[:3]) == {}
    assert plots.of_search([child(f"seed={seed}", seed / 10) for seed in range(9)]) == {}


@pytest.fixture(scope="module")
def swept(project: Project) -> tuple[Any, Any, list[Any], str]:
    """A sweep over folds of which one cannot work: client, parent run, children, what it said."""
    uri = new_store(project.folder / "sweep.db")
    training = project.train(
        "-m", *SWEPT, "training.epochs=1", "fold=0,1,7", MLFLOW_TRACKING_URI=uri
    )
    assert training.ended() == 1
    client = mlflow_client(uri)
    experiment = client.get_experiment_by_name("digits").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = [run for run in runs if sweeps.PARENT not in run.data.tags]
    children = [run for run in runs if run.data.tags.get(sweeps.PARENT) == parent.info.run_id]
    return client, parent, children, training.said()


def test_a_sweep_is_one_run_with_its_trainings_below_it(
    swept: tuple[Any, Any, list[Any], str],
) -> None:
    client, parent, children, said = swept
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name.startswith("sweep model=cnn ")
    assert sorted(run.info.run_name.split()[-1] for run in children) == ["fold=0", "fold=1"]
    accuracies = [run.data.metrics[sweeps.SCORE] for run in children]
    mean = parent.data.metrics["best/val_accuracy_mean"]
    assert mean == pytest.approx(sum(accuracies) / 2)
    assert parent.data.metrics["best/val_accuracy_sd"] == pytest.approx(
        abs(accuracies[0] - accuracies[1]) / 2**0.5
    )
    assert f"{mean:.2%} ± " in said
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert artifacts == {"summary.md", "val_accuracy.png"}
    # One was refused before it had a run.
    assert parent.data.metrics["num_failed"] == 1
    reason = "fold must be an integer in 0..4, got 7"
    assert f"1 did not finish:\n- fold=7: {reason}\n" in said
    assert f"- fold=7: {reason}" in parent.data.tags["mlflow.note.content"]
    assert {run.info.run_id for run in children} == {*parent.data.tags["best_run_ids"].split(",")}
    assert all(run.data.tags[sweeps.BEST] == "true" for run in children)


def runs_of(uri: str) -> tuple[Any, dict[str, Any]]:
    """The one parent run, and its trainings by seed or fold."""
    client = mlflow_client(uri)
    experiment = client.get_experiment_by_name("digits").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = [run for run in runs if sweeps.PARENT not in run.data.tags]
    children = {run.info.run_name.split()[-1]: run for run in runs if run is not parent}
    assert len(children) == len(runs) - 1
    return parent, children


def sweep(project: Project, uri: str, *, epochs: int) -> Training:
    words = ("-m", *SWEPT, f"training.epochs={epochs}", "seed=1,2")
    return project.train(*words, MLFLOW_TRACKING_URI=uri)


def test_a_sweep_that_was_killed_goes_on_with_what_is_missing(
    project: Project, tmp_path: Path
) -> None:
    uri = new_store(tmp_path / "sweep.db")
    first = sweep(project, uri, epochs=30)
    first.reached("trained in").reached("epoch 5/30")  # within the second training
    while first.stdout.read_text().count("epoch 5/30") < 2:
        assert first.process.is_alive(), first.said()
        time.sleep(0.01)
    first.signalled(signal.SIGKILL)
    parent, children = runs_of(uri)
    states = {name: run.info.status for name, run in children.items()}
    assert states == {"seed=1": "FINISHED", "seed=2": "RUNNING"}  # which nobody could change

    again = sweep(project, uri, epochs=30)
    assert again.ended() == 0, again.said()
    assert again.stdout.read_text().count("trained already") == 1
    assert " epoch 1/30" not in again.stdout.read_text()
    same, later = runs_of(uri)
    assert same.info.run_id == parent.info.run_id
    assert same.info.status == "FINISHED"
    assert {name: run.info.run_id for name, run in later.items()} == {
        name: run.info.run_id for name, run in children.items()
    }
    assert {run.info.status for run in later.values()} == {"FINISHED"}
    assert "(n = 2)" in again.said()


def test_what_failed_is_tried_again_and_the_rest_is_not(
    project: Project, swept: tuple[Any, Any, list[Any], str]
) -> None:
    _, parent, children, _ = swept
    uri = f"sqlite:///{project.folder / 'sweep.db'}"
    again = project.train("-m", *SWEPT, "training.epochs=1", "fold=0,1,7", MLFLOW_TRACKING_URI=uri)
    assert again.ended() == 1
    assert again.stdout.read_text().count("trained already") == len(children)
    same, later = runs_of(uri)
    assert same.info.run_id == parent.info.run_id
    assert len(later) == len(children)


def test_a_sweep_that_runs_already_is_not_begun_twice(project: Project, tmp_path: Path) -> None:
    uri, before = new_store(tmp_path / "sweep.db"), checkpoints(project)
    first = sweep(project, uri, epochs=500)
    first.reached("epoch 2/500")
    second = sweep(project, uri, epochs=500)
    assert second.ended() == 2
    assert "exactly this sweep is running already, in multirun/" in second.complaint()
    first.signalled(signal.SIGINT)
    parent, children = runs_of(uri)
    assert {run.info.status for run in (parent, *children.values())} == {"KILLED"}
    for run_id, path in checkpoints(project).items():
        if run_id not in before:  # what it would go on with: the project is shared
            shutil.rmtree(path.parent)


def test_a_folder_that_is_named_is_no_reason_to_leave_out_a_training(
    project: Project, tmp_path: Path
) -> None:
    uri = new_store(tmp_path / "sweep.db")
    words = ("-m", *SWEPT, "training.epochs=1", "seed=1", "hydra.sweep.dir=named")
    for _ in range(2):  # what conf/ says may have changed in between
        training = project.train(*words, MLFLOW_TRACKING_URI=uri)
        assert training.ended() == 0, training.said()
        assert "trained already" not in training.said()
    client = mlflow_client(uri)
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert sorted(sweeps.PARENT in run.data.tags for run in runs) == [False, False, True, True]
