"""`digits runs`: the trainings that MLflow has, as a table."""

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from digits.commands import main
from digits.runs import listing, overview
from stores import mlflow_client, new_store
from training_fixtures import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
# Name, parameters, validation and test accuracy; the last one failed before it had any.
TRAININGS = [
    ("cnn seed=1", {"seed": "1", "optimizer.lr": "0.012"}, 0.9946, 0.9961),
    ("mlp seed=1", {"seed": "1", "optimizer.lr": "0.004"}, 0.9878, 0.9899),
    ("cnn seed=2", {"seed": "2", "optimizer.lr": "0.012"}, 0.9950, None),
    ("tiny it's", {"seed": "2", "optimizer.lr": "it's"}, None, None),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    uri = new_store(folder / "mlflow.db")
    client = mlflow_client(uri)
    experiment = client.create_experiment("digits", folder.as_uri())
    client.create_run(experiment, run_name="a sweep")  # has no model of its own
    for name, params, validation, test in TRAININGS:
        tags = {"model": name.split()[0], "dataset": "mnist"}
        run = client.create_run(experiment, run_name=name, tags=tags)
        for key, value in params.items():
            client.log_param(run.info.run_id, key, value)
        metrics = {"bundle/val_accuracy": validation, "test/accuracy": test}
        for key, score in metrics.items():
            if score is not None:
                client.log_metric(run.info.run_id, key, score)
        if validation is not None:
            client.log_metric(run.info.run_id, "bundle/num_parameters", 1000 * len(name))
        client.set_terminated(run.info.run_id, "FINISHED" if validation else "FAILED")
    return uri


@pytest.fixture(autouse=True)
def here(store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


def digits(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def names(*words: str) -> list[str]:
    result = digits("runs", "--json", *words)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line)["name"] for line in result.stdout.splitlines()]


def test_the_best_on_validation_comes_first_and_what_has_none_last() -> None:
    assert names() == ["cnn seed=2", "cnn seed=1", "mlp seed=1", "tiny it's"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--sort", "test"], ["cnn seed=1", "mlp seed=1"]),
        (["--most", "1"], ["cnn seed=2"]),
        (["--where", "model=cnn", "--where", "seed=1"], ["cnn seed=1"]),
        (["--where", "status=failed"], ["tiny it's"]),
        (["--where", "optimizer.lr=it's"], ["tiny it's"]),
        (["--where", "optimizer.lr=3"], []),
    ],
)
def test_runs_are_sorted_and_filtered(words: list[str], expected: list[str]) -> None:
    assert names(*words)[: len(expected)] == expected
    if "--sort" not in words:
        assert len(names(*words)) == len(expected)


def test_the_table_has_a_line_a_run_and_figures_under_each_other() -> None:
    result = digits("runs")
    head, *lines = result.stdout.splitlines()
    assert tuple(head.split()) == listing.HEADS
    assert len(lines) == len(TRAININGS)
    assert "99.46%" in lines[1]
    assert "99.61%" in lines[1]
    assert "10,000" in lines[1]
    end = head.index("validation") + len("validation")
    assert [line[end - 6 : end] for line in lines[:3]] == ["99.50%", "99.46%", "98.78%"]
    assert "failed" in lines[3]


def test_elsewhere_than_in_the_project_no_store_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for words in (
        ["runs"],
        ["compare", "a", "b"],
        ["history"],
    ):
        result = digits(*words)
        assert result.exit_code == 2
        assert result.stderr == (
            f"Error: {tmp_path} is not the project's folder, it has no params.yaml; go there, or "
            "set MLFLOW_TRACKING_URI\n"
        )
    assert not list(tmp_path.iterdir())
    assert digits("runs", "--help").exit_code == 0


@pytest.mark.parametrize("words", ["promote v1 --because x", "rollback --because x", "adopt 1234"])
def test_what_changes_the_project_wants_its_folder_wherever_mlflow_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = digits(*words.split())
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {tmp_path} is not the project's folder, it has no params.yaml; go there\n"
    )


def test_the_table_has_mlflows_own_figures(store: str) -> None:
    (line,) = digits("runs", "--json", "--where", "model=mlp").stdout.splitlines()
    shown = json.loads(line)
    run = mlflow_client(store).get_run(shown["run_id"])
    assert shown["validation"] == run.data.metrics["bundle/val_accuracy"]
    assert shown["test"] == run.data.metrics["test/accuracy"]
    assert shown["parameters"] == run.data.metrics["bundle/num_parameters"]
    assert shown["corrupted"] is None
    assert shown["seconds"] == (run.info.end_time - run.info.start_time) / 1000


def test_mlflows_pages_list_the_same_runs_with_the_same_columns(store: str) -> None:
    client = mlflow_client(store)
    for _ in range(2):  # made, and found
        page = overview.page()
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    assert page.startswith(f"#/experiments/{experiment.experiment_id}/runs?")
    key = page.partition("viewStateShareKey=")[2]
    view = json.loads(experiment.tags[f"mlflow.sharedViewState.{key}"])
    assert view["selectedColumns"] == [
        *("tags.`dataset`", "metrics.`bundle/val_accuracy`", "metrics.`test/accuracy`"),
        *("metrics.`test/mean_corrupted_accuracy`", "metrics.`bundle/num_parameters`"),
    ]
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    ordered = client.search_runs([experiment.experiment_id], order_by=[order])
    # A sweep's own run is there, too: its table and its plots are to be found.
    trainings = [run.info.run_name for run in ordered if "model" in run.data.tags]
    assert trainings == names()
    assert len(ordered) > len(trainings)


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("optimiser.lr=1", "no run has 'optimiser.lr'; did you mean 'optimizer.lr'?"),
        ("seed", "a condition is KEY=VALUE, such as seed=1; got 'seed'"),
        ("`=1", "a condition is KEY=VALUE, such as seed=1; got '`=1'"),
        ("seed=\"'", "a value may have quotes of one kind only; got 'seed=\"\\''"),
    ],
)
def test_a_condition_that_cannot_be_met_is_said(condition: str, sentence: str) -> None:
    result = digits("runs", "--where", condition)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"Error: {sentence}\n"


def test_an_unknown_order_is_answered_with_those_there_are() -> None:
    result = digits("runs", "--sort", "speed")
    assert result.exit_code == 2
    assert "'validation', 'test', 'corrupted'" in result.stderr


def test_without_a_run_it_says_so_and_makes_no_experiment(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "nothing yet")
    result = digits("runs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no training is in MLflow; `make repro` makes some\n"
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        (found,) = database.execute("select count(*) from experiments where name = 'nothing yet'")
    assert found == (0,)


def test_a_store_that_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    result = digits("runs")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "http://127.0.0.1:9 cannot be used" in result.stderr


def test_the_benchmark_of_listing_fills_a_store_and_asks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import runs as bench

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "bench")
    monkeypatch.setattr(bench, "REPEATS", 1)
    monkeypatch.setattr(bench, "BUNDLE", ROOT / "released")
    found = bench.run(new_store(tmp_path / "mlflow.db"), num_runs=4)
    assert all(seconds > 0 for kind in found.values() for seconds in kind.values())
    assert len(found["commands_s"]) == 5
    assert len(listing.search()) == 4
    assert listing.search()[0].name == "cnn seed=3"
