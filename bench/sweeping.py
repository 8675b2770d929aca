"""What a sweep costs above its trainings.

    python bench/sweeping.py [--trainings 20] [--epochs 12]

Trains `mlp` with so many seeds as one sweep, into an MLflow of its own, and adds up what its
trainings took: the loop alone, and the whole run from MLflow's start of it to its end. Writes
bench/sweeping.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlflow.tracking import MlflowClient

from digits.files import write_json
from machine import describe

OUT = Path("bench/sweeping.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trainings", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=12, help="of each: about ten seconds")
    arguments = parser.parse_args()
    seeds = ",".join(map(str, range(1, arguments.trainings + 1)))
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        words = ["model=mlp", f"training.epochs={arguments.epochs}", f"seed={seeds}"]
        words += [f"hydra.sweep.dir={folder}/sweep", "resume=false"]
        began_s, started_s = time.time(), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "digits.train", "-m", *words],
            env={**os.environ, "MLFLOW_TRACKING_URI": uri},
            check=True,
        )
        wall_s = time.perf_counter() - started_s
        paths = sorted(Path(folder, "sweep").glob("*/run.json"))
        results = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        client = MlflowClient(uri)
        infos = [client.get_run(result["run_id"]).info for result in results]
    loops_s = sum(result["train_s"] for result in results)
    runs_s = sum((info.end_time - info.start_time) / 1000 for info in infos)
    found = {
        "num_trainings": len(results),
        "wall_s": round(wall_s, 1),
        "loops_s": round(loops_s, 1),
        "runs_s": round(runs_s, 1),
        "start_up_s": round(min(info.start_time for info in infos) / 1000 - began_s, 1),
        "above_loops": round(wall_s / loops_s - 1, 3),
        "above_runs": round(wall_s / runs_s - 1, 3),
    }
    print(json.dumps(found, indent=2))
    command = f"python bench/sweeping.py --trainings {arguments.trainings}"
    write_json(OUT, {"command": command, "machine": describe(), **found})


if __name__ == "__main__":
    main()
