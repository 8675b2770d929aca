"""How long it takes to list and compare among many runs, in SQLite and in PostgreSQL.

    python bench/runs.py [--runs 1000] [--store postgresql://...]

Fills an empty store with runs that have as many parameters and metrics as a real one, four of them
with a model, two of those with what their evaluation noted of the test images. Then the questions
that `digits runs` and `digits compare` ask the store, and those commands as a person gives them,
from the start of Python to the last line. Without --store a SQLite file and, where its programs
are, a PostgreSQL server are made and removed, and bench/runs.json is written.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import postgres
from digits import settings
from digits.files import write_json
from digits.runs import finding, listing, tracking
from machine import describe

OUT = Path("bench/runs.json")
BUNDLE = Path("released")
REPEATS = 5
EPOCHS = 12


def fill(num_runs: int, folder: Path) -> list[str]:
    """So many trainings in the store, their files below the folder; their ids."""
    from mlflow.entities import Metric, Param

    client = tracking.client()
    experiment = client.create_experiment(tracking.experiment_name(), folder.as_uri())
    ids = []
    for index in range(num_runs):
        tags = {"model": ("mlp", "cnn")[index % 2], "dataset": "mnist"}
        run = client.create_run(experiment, run_name=f"cnn seed={index}", tags=tags)
        accuracy = 0.99 + index / num_runs / 200
        metrics = {"bundle/val_accuracy": accuracy, "test/accuracy": accuracy}
        metrics |= {f"test_per_class/{k}.recall": accuracy for k in range(40)}
        points = [Metric(name, value, index, 0) for name, value in metrics.items()]
        points += [Metric("val_accuracy", accuracy, index, step) for step in range(EPOCHS)]
        params = [Param(f"group.parameter_{k}", str(k * index)) for k in range(60)]
        params.append(Param("seed", str(index)))
        client.log_batch(run.info.run_id, metrics=points, params=params)
        client.set_terminated(run.info.run_id, "FINISHED")
        ids.append(run.info.run_id)
    noted = _answers()
    for run_id in ids[-4:]:
        client.log_artifacts(run_id, str(BUNDLE), "bundle")
    for run_id in ids[-2:]:
        client.log_dict(run_id, noted, "answers.json")
    return ids


def _answers() -> dict[str, Any]:
    """What an evaluation notes of a model: here, that it is always right."""
    test = settings.prepared_folder("mnist") / "test.npz"
    if not test.exists():
        return {}
    with np.load(test) as arrays:
        answers = arrays["labels"].tolist()
    md5 = hashlib.md5(test.read_bytes(), usedforsecurity=False).hexdigest()
    return {"test_md5": md5, "classes": [*range(10)], "answers": answers}


def median_s(ask: Callable[[], Any]) -> float:
    """Seconds of the middle one of REPEATS."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds), 3)


def questions(ids: list[str]) -> dict[str, Callable[[], Any]]:
    """What is asked of a store."""
    some = ids[len(ids) // 2]
    return {
        "the best 20": lambda: listing.search(),
        "one seed of one model": lambda: listing.search(where=["model=cnn", "seed=501"]),
        "all of them": lambda: listing.search(most=len(ids)),
        "one by the start of its id": lambda: finding.find(some[:8]),
    }


def commands(ids: list[str]) -> dict[str, Callable[[], Any]]:
    """What a person types."""

    def digits(*words: str) -> Callable[[], Any]:
        command = [sys.executable, "-m", "digits.commands", *words]
        return lambda: subprocess.run(command, check=True, capture_output=True)

    return {
        "digits --help": digits("--help"),
        "digits runs": digits("runs"),
        f"digits runs --most {len(ids)}": digits("runs", "--most", str(len(ids))),
        "digits compare A B": digits("compare", ids[-1][:8], ids[-2][:8]),
        "digits compare, not evaluated": digits("compare", ids[-3][:8], ids[-4][:8]),
    }


def run(store: str, *, num_runs: int) -> dict[str, dict[str, float]]:
    """Fill a store and ask it: seconds of each question and command."""
    os.environ["MLFLOW_TRACKING_URI"] = store
    with tempfile.TemporaryDirectory() as folder:
        ids = fill(num_runs, Path(folder))
        found: dict[str, dict[str, float]] = {}
        for kind, asked in (("questions_s", questions(ids)), ("commands_s", commands(ids))):
            found[kind] = {}
            for name, ask in asked.items():
                found[kind][name] = median_s(ask)
                print(f"{name:28} {found[kind][name]:7.3f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--store", help="an empty database, instead of those made here")
    arguments = parser.parse_args()
    os.environ["MLFLOW_EXPERIMENT_NAME"] = "bench"
    if arguments.store:
        run(arguments.store, num_runs=arguments.runs)
        return
    stores = {}
    print("SQLite")
    with tempfile.TemporaryDirectory() as folder:
        stores["sqlite"] = run(f"sqlite:///{folder}/mlflow.db", num_runs=arguments.runs)
    if postgres.is_here():
        print("PostgreSQL")
        with postgres.server() as address:
            stores["postgresql"] = run(address, num_runs=arguments.runs)
    else:
        print(postgres.INSTALL)
    command = f"python bench/runs.py --runs {arguments.runs}"
    write_json(OUT, {"command": command, "machine": describe(), "stores": stores})


if __name__ == "__main__":
    main()
