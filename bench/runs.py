"""How long MLflow's store takes to list and compare among many runs.

    python bench/runs.py [--runs 1000] [--store sqlite:///… | postgresql://…]

Fills a store with runs that have the parameters and metrics of a real one, then lists the best 20,
those that fit a condition, and all of them, and finds one run by the start of its id, as `digits
runs` and `digits compare` do: first the questions alone, then the whole command with the start of
Python and MLflow. Without --store a SQLite file is made and removed. Writes bench/runs.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from digits.files import write_json
from digits.runs import finding, listing, tracking
from machine import describe

OUT = Path("bench/runs.json")
REPEATS = 5
EPOCHS = 12


def fill(num_runs: int) -> list[str]:
    """So many trainings in the store; their ids."""
    from mlflow.entities import Metric, Param

    client, experiment = tracking.client(), tracking.experiment_id()
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
    return ids


def measure(ids: list[str]) -> dict[str, float]:
    """Median seconds of each question."""
    some = ids[len(ids) // 2]
    questions: dict[str, Callable[[], Any]] = {
        "the best 20": lambda: listing.search(),
        "one seed of one model": lambda: listing.search(where=["model=cnn", "seed=501"]),
        "all of them": lambda: listing.search(most=len(ids)),
        "one by the start of its id": lambda: finding.find(some[:8]),
    }
    taken = {}
    for name, ask in questions.items():
        seconds = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            ask()
            seconds.append(time.perf_counter() - started)
        taken[name] = round(statistics.median(seconds), 3)
        print(f"{name:28} {taken[name]:7.3f} s", flush=True)
    return taken


def command_s() -> float:
    """Seconds of `digits runs` as a whole, Python and MLflow's imports included."""
    command = [sys.executable, "-m", "digits.commands", "runs"]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return round(time.perf_counter() - started, 2)


def run(store: str, *, num_runs: int) -> dict[str, Any]:
    """Fill a store and ask it."""
    os.environ["MLFLOW_TRACKING_URI"] = store
    taken = measure(fill(num_runs))
    whole = command_s()
    print(f"{'digits runs, as a whole':28} {whole:7.2f} s")
    return {"num_runs": num_runs, "seconds": taken, "command_s": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--store", help="an empty database")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_EXPERIMENT_NAME"] = "bench"
        store = arguments.store or f"sqlite:///{folder}/mlflow.db"
        found = run(store, num_runs=arguments.runs)
    kind = store.partition(":")[0].partition("+")[0]
    known = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    write_json(OUT, {**known, kind: {"machine": describe(), **found}})


if __name__ == "__main__":
    main()
