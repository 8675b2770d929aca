"""What a sweep is made of: one training of it, what it sums up, and what a stop ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from digits.reporting import figures
from digits.runs import sweeps, unsent
from digits.sweeping import callback, composing, place, results
from digits.sweeping.job import Job
from stores import mlflow_client, new_store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a store that has nothing yet, which the code finds too."""
    monkeypatch.chdir(tmp_path)
    uri = new_store(tmp_path / "runs.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
    return mlflow_client(uri)


def job(sweep: Path, out: Path | None = None) -> Job:
    """The first training of a sweep, as Hydra has it."""
    hydra = {
        "mode": RunMode.MULTIRUN,
        "sweep": {"dir": str(sweep)},
        "sweeper": {},
        "overrides": {"task": ["seed=1"]},
        "runtime": {"output_dir": str(sweep.resolve() / "seed=1")},
    }
    return Job(OmegaConf.create(hydra), out=out or sweep / "seed=1")


def write_result(out: Path, run_id: str) -> None:
    """What a training leaves in its folder."""
    (out / "bundle").mkdir(parents=True)
    (out / "run.json").write_text(json.dumps({"run_id": run_id}))
    (out / "bundle" / "model.json").write_text(json.dumps({"name": "tiny"}))


def test_a_training_that_is_done_is_closed_where_it_is_not_yet(store: Any) -> None:
    sweep = Path("sweep")
    place.note(sweep, digest="that of this sweep")
    run_id = store.create_run("0").info.run_id
    write_result(sweep / "seed=1", run_id)
    assert job(sweep).done() == {"run_id": run_id, "name": "tiny"}
    assert store.get_run(run_id).info.status == "FINISHED"
    store.set_terminated(run_id, "FINISHED", end_time=1_000)
    assert job(sweep).done() is not None
    assert store.get_run(run_id).info.end_time == 1_000  # when it ended, whoever asks later


def test_a_training_that_the_store_no_longer_has_is_not_done(store: Any) -> None:
    sweep = Path("sweep")
    place.note(sweep, digest="that of this sweep")
    write_result(sweep / "seed=1", "0" * 32)
    assert job(sweep).done() is None


def test_a_training_that_writes_elsewhere_is_never_done_and_fails_as_the_others(
    store: Any,
) -> None:
    sweep, out = Path("sweep"), Path("models/tiny")
    place.note(sweep, digest="that of this sweep")
    write_result(out, store.create_run("0").info.run_id)  # by another command
    elsewhere = job(sweep, out)
    assert elsewhere.done() is None
    elsewhere.failed("train: no luck")
    assert results.failed(sweep) == [results.Failure(("seed=1",), "train: no luck")]
    elsewhere.began()
    assert results.failed(sweep) == []


def kept_training(
    store: Any, parent: str, accuracy: float, *, seed: int = 1, tag: str = "a"
) -> str:
    """A training of a sweep of which MLflow has missed all but its beginning."""
    run_id: str = store.create_run(
        "0", tags=sweeps.child_tags(parent, [f"seed={seed}"], worker="")
    ).info.run_id
    unsent.keep(run_id, "set_tag", key=tag, value="1")
    unsent.keep(run_id, "log_metrics", metrics={sweeps.SCORE: accuracy}, step=1, at_ms=1_000)
    unsent.keep(run_id, "end", status="FINISHED", at_ms=1_000)
    return run_id


def summed_up(
    store: Any, parent: str, monkeypatch: pytest.MonkeyPatch, *, worker: str = "one", **sweeper: Any
) -> dict[str, float]:
    """The figures of a sweep at its end."""
    folder = worker if Path(worker).exists() else "sweep"
    config = {"hydra": {"sweep": {"dir": folder}, "sweeper": sweeper}}
    monkeypatch.setattr(callback, "_open", [place.Place(digest="", run_id=parent, worker=worker)])
    monkeypatch.setattr(callback, "_complaints", [])
    callback.SweepRun().on_multirun_end(OmegaConf.create(config))
    metrics: dict[str, float] = store.get_run(parent).data.metrics
    return metrics


def test_a_sweep_sums_up_what_mlflow_had_missed_of_its_trainings(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = sweeps.start(name="sweep", again=None, worker="one")
    for seed, accuracy in enumerate((0.5, 0.75)):
        kept_training(store, parent, accuracy, seed=seed)
    metrics = summed_up(store, parent, monkeypatch)
    assert metrics["best/val_accuracy_mean"] == 0.625
    assert unsent.runs() == []
    known = place.read(Path("sweep"))
    assert known is not None
    assert known.finished


def test_a_sweep_is_not_over_while_something_of_it_cannot_be_sent(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = sweeps.start(name="sweep", again=None, worker="one")
    kept_training(store, parent, 0.5)
    refused = kept_training(store, parent, 0.75, tag="longer than MLflow takes" * 50)
    assert summed_up(store, parent, monkeypatch)["best/val_accuracy_mean"] == 0.5
    assert unsent.runs() == [refused]
    known = place.read(Path("sweep"))
    assert known is not None
    assert not known.finished


def test_a_picture_that_cannot_be_drawn_costs_the_sweep_nothing_else(
    store: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Any) -> Any:
        raise RuntimeError("no memory\nfor a picture")

    monkeypatch.setattr(figures, "box_plot", refuse)
    parent = sweeps.start(name="sweep", again=None, worker="one")
    kept_training(store, parent, 0.5)
    assert summed_up(store, parent, monkeypatch)["best/val_accuracy_mean"] == 0.5
    said = capsys.readouterr()
    assert "50.00% (n = 1)" in said.out
    assert said.err == (
        "train: a picture of the sweep cannot be drawn: RuntimeError: no memory for a picture\n"
    )
    assert states(store, parent) == ["FINISHED"]


def test_a_training_that_is_done_has_not_failed(store: Any) -> None:
    """As where MLflow was away when it was asked whether it has the training."""
    sweep = Path("sweep")
    place.note(sweep, digest="that of this sweep")
    write_result(sweep / "seed=1", store.create_run("0").info.run_id)
    again = job(sweep)
    again.failed("train: the MLflow store cannot be used")
    again.began()
    assert again.done() is not None
    assert results.failed(sweep) == []


def test_how_long_a_training_took_is_known_where_it_is_searched_for(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = sweeps.start(name="sweep", again=None, worker="one")
    runs = []
    for seed, (accuracy, epoch_s) in enumerate(((0.75, 9.0), (0.5, 2.0), (0.25, 4.0))):
        tags = sweeps.child_tags(parent, [f"optimizer.lr={seed}"], worker="one")
        runs.append(store.create_run("0", tags=tags).info.run_id)
        for step in (1, 2):
            store.log_metric(runs[-1], sweeps.EPOCH_S, epoch_s, step=step)
        store.log_metric(runs[-1], sweeps.SCORE, accuracy)
        store.set_terminated(runs[-1])
    assert [each.train_s for each in sweeps.children(parent)] == [None] * 3
    assert [each.train_s for each in sweeps.children(parent, timed=True)] == [18.0, 4.0, 8.0]
    objectives = {"val_accuracy": "maximize", "train_s": "minimize"}
    summed_up(store, parent, monkeypatch, objectives=objectives)
    assert store.get_run(parent).data.tags["best_run_ids"].split(",") == runs[:2]


def test_a_worker_that_is_stopped_ends_its_own_trainings_alone(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, runs, workers = shared_search(store)
    stop(workers[0], monkeypatch)
    assert states(store, parent, *runs) == ["RUNNING", "KILLED", "RUNNING"]
    callback.close_what_was_stopped()  # nothing is open here any more
    assert states(store, parent, *runs) == ["RUNNING", "KILLED", "RUNNING"]
    stop(workers[1], monkeypatch)
    assert states(store, parent, *runs) == ["KILLED", "KILLED", "KILLED"]


def test_a_shared_search_is_over_with_its_last_worker(
    store: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parent, runs, workers = shared_search(store)
    store.set_terminated(runs[1])  # between two trainings, the second worker has none that runs
    kept_training(store, parent, 0.5)
    summed_up(store, parent, monkeypatch, worker=workers[0].worker)
    assert "open until another worker is done with the same search" in capsys.readouterr().out
    assert states(store, parent, *runs) == ["RUNNING", "KILLED", "FINISHED"]
    summed_up(store, parent, monkeypatch, worker=workers[1].worker)
    assert "open until" not in capsys.readouterr().out
    assert states(store, parent) == ["FINISHED"]


def test_what_failed_with_each_worker_of_a_shared_search_is_summed_up(
    store: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parent, _, workers = shared_search(store)
    for folder in ("sweep", "sweep_2"):
        job(Path(folder)).failed(f"train: no luck in {folder}")
    for worker in workers:
        metrics = summed_up(store, parent, monkeypatch, worker=worker.worker)
    assert metrics["num_failed"] == 2
    said = capsys.readouterr().out
    assert "2 did not finish:\n- seed=1: no luck in sweep\n- seed=1: no luck in sweep_2\n" in said
    assert callback.complaints() == ["1 of the sweep's trainings failed, see above"]
    job(Path("sweep")).began()
    assert summed_up(store, parent, monkeypatch, worker="sweep")["num_failed"] == 1


def test_a_worker_that_comes_again_opens_the_search_again(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, _, workers = shared_search(store)
    for worker in workers:
        stop(worker, monkeypatch)
    assert sweeps.start(name="search", again=parent, worker=workers[0].worker) == parent
    assert states(store, parent) == ["RUNNING"]
    stop(workers[1], monkeypatch)  # a second time: nothing of the first worker's is touched
    assert states(store, parent) == ["RUNNING"]


def shared_search(store: Any) -> tuple[str, list[str], list[place.Place]]:
    """The run of a search, a training of each of its two workers, and where these work."""
    parent, folders = None, [Path("sweep"), Path("sweep_2")]
    for folder in folders:
        parent = sweeps.start(name="search", again=parent, worker=folder.name)
    assert parent is not None
    workers = [place.note(folder, run_id=parent, worker=folder.name) for folder in folders]
    runs = [store.create_run("0", tags=job(folder).tags()).info.run_id for folder in folders]
    return parent, runs, workers


def states(store: Any, *run_ids: str) -> list[str]:
    return [store.get_run(run_id).info.status for run_id in run_ids]


def stop(worker: place.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an interrupt does in a worker's process."""
    monkeypatch.setattr(callback, "_open", [worker])
    callback.close_what_was_stopped()


def test_each_folder_of_a_sweep_is_a_worker_of_its_own_and_stays_it(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback, "_open", [])
    workers = []
    for folder in ("one", "two", "one"):
        overrides = {"task": ["seed=1,2"]}
        config = {"hydra": {"sweep": {"dir": folder}, "sweeper": {}, "overrides": overrides}}
        callback.begin(OmegaConf.create(config))
        known = place.read(Path(folder))
        assert known is not None
        workers.append(known.worker)
    assert workers[0] == workers[2] != workers[1]
    assert job(Path("one")).tags()[sweeps.WORKER] == workers[0]


def test_each_choice_of_a_sweep_is_composed_before_it_begins_and_one_number_of_many() -> None:
    words = ["model=mlp,cnn", "seed=1,2,3", "training.epochs=range(3,9)", "~fold", "seed=4,5"]
    overrides = OverridesParser.create().parse_overrides([*words, "optimizer.lr=interval(0.1,1)"])
    rest = ["seed=4", "training.epochs=3", "~fold", "optimizer.lr=0.1"]
    assert composing.samples(overrides) == [["model=mlp", *rest], ["model=cnn", *rest]]
