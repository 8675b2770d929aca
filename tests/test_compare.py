"""`digits compare`: two trainings side by side, and the report of it."""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy.stats import binomtest

from digits.commands import main
from digits.files import write_json
from digits.reading.predictor import Predictor
from drawn import drawn_set
from serving_fixtures import ROOT, write_bundle
from stores import mlflow_client, new_store

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
NUM = 80
NUM_EPOCHS = (3, 20, 3)  # of each training that did not fail
METRICS = {
    "bundle/val_accuracy": 0.96,
    "test/num_images": 10_000,
    "test/mean_corrupted_accuracy": 0.5,
    "test/refused_share": 0.01,
    "test/num_nondigits": 100,
    "test/nondigits_accepted_share": 0.08,
    "test/ece": 0.002,
}
PARAMS = {"model.name": "tiny", "seed": "1", "data.num_val": "50"}


@dataclass(frozen=True)
class Store:
    uri: str
    folder: Path
    ids: dict[str, str]  # of the runs by name


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two trainings with bundles, one on other data and one that failed; the test images."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / "data/mnist/prepared").mkdir(parents=True)
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    images_NHW, labels_N = drawn_set(NUM, seed=3)
    np.savez(folder / "data/mnist/prepared/test.npz", images=images_NHW, labels=labels_N)
    (folder / "data/mnist/prepared/data.json").write_text(json.dumps({"name": "mnist"}))
    uri = new_store(folder / "mlflow.db")
    client = mlflow_client(uri)
    experiment = client.create_experiment("digits", (folder / "files").as_uri())
    client.create_registered_model("digits")
    ids = {}
    for seed, (name, dataset) in enumerate(
        [("tiny one", "mnist"), ("tiny two", "mnist"), ("other", "letters"), ("failed", "mnist")]
    ):
        run = client.create_run(
            experiment, run_name=name, tags={"model": "tiny", "dataset": dataset}
        )
        ids[name] = run.info.run_id
        for key, value in (PARAMS | {"seed": str(seed), "data.num_val": str(50 + seed)}).items():
            client.log_param(run.info.run_id, key, value)
        if name == "failed":
            continue
        for epoch in range(1, NUM_EPOCHS[seed] + 1):
            accuracy = 0.9 + epoch / 1000 + seed / 100
            client.log_metric(run.info.run_id, "val_accuracy", accuracy, step=epoch)
        for key, score in (METRICS | {"test/accuracy": 0.95 + seed / 100}).items():
            client.log_metric(run.info.run_id, key, score)
        write_bundle(folder / name / "bundle", seed=seed)
        client.log_artifacts(run.info.run_id, str(folder / name / "bundle"), "bundle")
    version = client.create_model_version("digits", "somewhere", run_id=ids["tiny two"])
    client.set_registered_model_alias("digits", "champion", version.version)
    return Store(uri, folder, ids)


@pytest.fixture(autouse=True)
def here(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


def digits(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def answers(store: Store, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    with np.load("data/mnist/prepared/test.npz") as arrays:
        predictor = Predictor.open(store.folder / name / "bundle")
        return predictor.probabilities(arrays["images"]).argmax(axis=1)


def test_both_answer_the_same_images_and_every_figure_is_theirs(store: Store) -> None:
    result = digits("compare", "tiny one", "tiny two", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["parameters"] == {"seed": ["0", "1"]}  # what follows from it is left out
    with np.load("data/mnist/prepared/test.npz") as arrays:
        labels_N = arrays["labels"]
    first_N, second_N = answers(store, "tiny one"), answers(store, "tiny two")
    paired = found["paired"]
    assert paired["num"] == NUM
    assert paired["only_first"] == ((first_N == labels_N) & (second_N != labels_N)).sum()
    assert paired["only_second"] == ((second_N == labels_N) & (first_N != labels_N)).sum()
    differing = np.flatnonzero(first_N != second_N)
    assert [one["index"] for one in found["disagreements"]] == differing.tolist()
    assert len(differing) > 10
    for key, (first, second) in found["metrics"].items():
        for name, value in (("tiny one", first), ("tiny two", second)):
            logged = mlflow_client(store.uri).get_run(store.ids[name]).data.metrics
            assert value == logged.get(key)


def test_what_evaluation_noted_of_the_same_images_is_not_asked_again(
    store: Store, tmp_path: Path
) -> None:
    client = mlflow_client(store.uri)
    experiment = client.get_experiment_by_name("digits").experiment_id
    test = Path("data/mnist/prepared/test.npz").read_bytes()
    with np.load("data/mnist/prepared/test.npz") as arrays:
        labels = arrays["labels"].tolist()
    for name, md5 in (("of these", hashlib.md5(test).hexdigest()), ("of others", "0" * 32)):
        tags = {"model": "tiny", "dataset": "mnist"}
        run = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        noted = {"test_md5": md5, "classes": [*range(10)], "answers": labels}
        client.log_dict(run, noted, "answers.json")
    said = json.loads(digits("compare", "tiny one", "of these", "--json").stdout)["paired"]
    assert said["only_second"] + said["both_right"] == NUM  # all right, by what is noted
    found = json.loads(digits("compare", "tiny one", "of others", "--json").stdout)
    assert found["verdict"].endswith("(of others) has no bundle")


def test_the_terminal_says_what_the_json_says() -> None:
    said = digits("compare", "tiny one", "tiny two")
    assert said.exit_code == 0, said.stderr
    found = json.loads(digits("compare", "tiny one", "tiny two", "--json").stdout)
    assert found["verdict"] in said.stdout
    one = found["disagreements"][0]
    line = f"test image {one['index']}, a {one['label']}: A {one['first']}, B {one['second']}"
    assert line in said.stdout
    assert f"and {len(found['disagreements']) - 10} more" in said.stdout


def test_every_share_has_an_interval_of_its_own_number_of_images() -> None:
    said = re.sub(" +", " ", digits("compare", "tiny one", "tiny two").stdout)
    for name, num_right, num in (
        ("validation accuracy", 48, 50),
        ("test accuracy", 9_500, 10_000),
        ("accuracy over corruptions", 5_000, 10_000),
        ("test digits refused", 100, 10_000),
        ("drawn non-digits accepted", 8, 100),
    ):
        low, high = binomtest(num_right, num).proportion_ci(method="wilson")
        assert f"{name} {num_right / num:.2%} ({low:.2%} to {high:.2%})" in said
    assert "0.20% (" not in said  # a calibration error is no share
    found = json.loads(digits("compare", "tiny one", "other", "--json").stdout)
    low, high = found["intervals"]["test/accuracy"][0]
    assert (low, high) == pytest.approx((0.9456, 0.9541), abs=1e-4)
    found = json.loads(digits("compare", "tiny one", "failed", "--json").stdout)
    assert found["intervals"]["test/accuracy"][1] is None


def test_the_curves_are_mlflows_own_figures(store: Store) -> None:
    said = digits("compare", "tiny one", "tiny two").stdout
    *rows, last = said.partition("validation after epoch")[2].partition("\n\n")[0].splitlines()[1:]
    assert last == "  9 of 20 epochs; --html FILE draws all"
    client = mlflow_client(store.uri)
    curves = []
    for name in ("tiny one", "tiny two"):
        points = client.get_metric_history(store.ids[name], "val_accuracy")
        curves.append({point.step: f"{point.value:.2%}" for point in points})
    epochs = [int(row.split()[0]) for row in rows]
    assert epochs == [1, 3, 4, 6, 9, 12, 15, 17, 20]  # the first one ended after 3
    for epoch, row in zip(epochs, rows, strict=True):
        assert row.split()[1:] == [curve[epoch] for curve in curves if epoch in curve]


def test_the_report_needs_nothing_else_and_has_the_same_figures(tmp_path: Path) -> None:
    out = tmp_path / "compared.html"
    result = digits("compare", "tiny one", "tiny two", "--html", str(out), "--json")
    assert result.exit_code == 0, result.stderr
    page, found = out.read_text(encoding="utf-8"), json.loads(result.stdout)
    assert found["verdict"] in page
    said = digits("compare", "tiny one", "tiny two").stdout
    table = said.partition("\n")[2].partition("\n\n")[0]
    cells = [re.split(r" {2,}", line.strip()) for line in table.splitlines()[1:]]
    assert len(cells) > 5
    for name, first, second in cells:
        row = f'<tr><th scope="row">{name}</th><td>{first}</td><td>{second}</td></tr>'
        assert row in page
    for count in ("both_right", "only_first", "only_second", "both_wrong"):
        assert f"<td>{found['paired'][count]}</td>" in page
    assert page.count("<img ") == min(60, len(found["disagreements"]))
    assert "<svg" in page
    loaded = re.findall(r'(?:src|href)="([^"#]+)', page)
    assert loaded
    assert all(address.startswith("data:image/png") for address in loaded)
    assert "url(http" not in page
    assert "@import" not in page
    HTMLParser().feed(page)


def test_the_table_of_runs_is_a_report_too(tmp_path: Path) -> None:
    result = digits("runs", "--html", str(tmp_path / "runs.html"))
    assert result.exit_code == 0, result.stderr
    page = (tmp_path / "runs.html").read_text(encoding="utf-8")
    for line in result.stdout.splitlines()[1:]:
        for cell in re.split(r" {2,}", line.strip()):
            assert f"<td>{cell}</td>" in page


@pytest.mark.parametrize("word", ["champion", "v1", "1", "id", "start of id", "tiny two", "mine"])
def test_a_run_is_found_by_what_people_call_it(store: Store, word: str) -> None:
    run_id = store.ids["tiny two"]
    write_json(Path("models/mine/run.json"), {"run_id": run_id})
    named = {"id": run_id, "start of id": run_id[:8]}.get(word, word)
    found = json.loads(digits("compare", "tiny one", named, "--json").stdout)
    assert found["second"]["run_id"] == run_id


def test_a_run_of_other_data_is_compared_without_the_images() -> None:
    found = json.loads(digits("compare", "tiny one", "other", "--json").stdout)
    assert found["paired"] is None
    assert "different data sets, letters and mnist" in found["verdict"]


def test_a_run_without_a_bundle_is_compared_without_the_images(store: Store) -> None:
    found = json.loads(digits("compare", "tiny one", "failed", "--json").stdout)
    run_id = store.ids["failed"][:8]
    assert found["verdict"] == f"no paired test: run {run_id} (failed) has no bundle"


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("tiny tow", "there is no run 'tiny tow'; did you mean 'tiny two' or 'tiny one'?"),
        ("champoin", "there is no run 'champoin'; did you mean 'champion'?"),
        ("challenger", "there is no challenger now; a selected model that is not better"),
        ("v9", "there is no run 'v9'; "),
        ("zz' or 1 = '1", "there is no run \"zz' or 1 = '1\"; the latest are "),
    ],
)
def test_a_run_that_is_not_there_is_named_with_the_nearest(word: str, sentence: str) -> None:
    result = digits("compare", "tiny one", word)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_report_that_cannot_be_written_is_one_sentence() -> None:
    result = digits("compare", "tiny one", "tiny two", "--html", "/proc/nowhere/a.html")
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_damaged_test_images_are_said() -> None:
    path = Path("data/mnist/prepared/test.npz")
    before = path.read_bytes()
    try:
        path.write_bytes(before[:100])
        found = json.loads(digits("compare", "tiny one", "tiny two", "--json").stdout)
    finally:
        path.write_bytes(before)
    assert found["paired"] is None
    assert "test.npz is damaged (" in found["verdict"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"name": "optdigits"}', "has optdigits now, they learnt from mnist"),
        (None, "data.json is missing; run `dvc repro prepare`"),
    ],
)
def test_test_images_that_are_of_other_data_or_gone_are_said(
    monkeypatch: pytest.MonkeyPatch, content: str | None, sentence: str
) -> None:
    path = Path("data/mnist/prepared/data.json")
    before = path.read_text()
    try:
        path.unlink()
        if content:
            path.write_text(content)
        found = json.loads(digits("compare", "tiny one", "tiny two", "--json").stdout)
    finally:
        path.write_text(before)
    assert found["paired"] is None
    assert sentence in found["verdict"]
    assert found["parameters"]
