"""How long a new user waits: set-up, `make repro` on a fresh clone, and again with nothing changed.

    python bench/pipeline.py

Clones the committed tree into an empty folder (with ../shared/mnist or $MNIST_MIRROR as the
mirror), runs `make repro` and then `dvc repro`, and times the start-up of each stage. The package
installer's cache is used where it is warm; nothing else is. Writes bench/pipeline.json.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from mlflow.tracking import MlflowClient

from digits.files import write_json
from machine import describe

OUT = Path("bench/pipeline.json")
MIRROR = Path(os.environ.get("MNIST_MIRROR") or "../shared/mnist").resolve()
STAGES = ("fetch", "prepare", "compose", "train", "evaluate", "selection", "package")


def timed(command: list[str], folder: Path, environ: dict[str, str]) -> tuple[float, str]:
    """Seconds and output of a command that must succeed."""
    started_s = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seconds = time.perf_counter() - started_s
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
    return round(seconds, 2), done.stdout


def repro(clone: Path, environ: dict[str, str]) -> dict[str, float]:
    """Run `make repro`; seconds of each stage, with what DVC does around it, and the last words."""
    began = {"start": time.perf_counter()}
    with subprocess.Popen(
        ["make", "repro"],
        cwd=clone,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if stage := re.match("Running stage '(.+)'", line):
                began[stage[1]] = time.perf_counter()
    if process.returncode:
        raise SystemExit("`make repro` failed, see above")
    ends = [*list(began.values())[1:], time.perf_counter()]
    return {
        stage: round(end - start, 1)
        for (stage, start), end in zip(began.items(), ends, strict=True)
    }


def train_start_up_s(clone: Path, environ: dict[str, str]) -> float:
    """Seconds from the start of a training's process to its first step.

    Told from when MLflow got the first epoch's metrics, less the epoch: so the first validation
    and checkpoint are counted as well.
    """
    starts = []
    for _ in range(3):
        started = time.time()
        command = "python -m digits.train model=cnn training.epochs=1 resume=false out=start_up"
        timed(command.split(), clone, environ | {"MLFLOW_EXPERIMENT_NAME": "start-up"})
        run_id = json.loads((clone / "start_up" / "run.json").read_text())["run_id"]
        client = MlflowClient(f"sqlite:///{clone / 'mlflow.db'}")
        (epoch,) = client.get_metric_history(run_id, "epoch_s")
        starts.append(epoch.timestamp / 1000 - epoch.value - started)
    return round(statistics.median(starts), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    # The caller must not lend the clone packages, nor keep it from compiling its own.
    foreign = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    environ = {key: os.environ[key] for key in os.environ if key not in foreign}
    with tempfile.TemporaryDirectory(
        dir=Path.cwd().parent if os.access("..", os.W_OK) else None
    ) as t:
        clone = Path(t) / "digits"
        subprocess.run(["git", "clone", "-q", ".", str(clone)], check=True)
        environ |= {"MNIST_MIRROR": str(MIRROR), "BENTOML_HOME": f"{t}/bentoml"}
        set_up_s, _ = timed(["make", ".venv/.ready"], clone, environ)
        stages_s = repro(clone, environ)
        repro_s = sum(stages_s.values())
        environ["PATH"] = f"{clone}/.venv/bin{os.pathsep}{environ['PATH']}"
        unchanged = [timed(["dvc", "repro"], clone, environ) for _ in range(5)]
        assert all("up to date" in output for _, output in unchanged), unchanged[0]
        imports = {
            stage: statistics.median(
                timed(["python", "-c", f"import digits.{stage}"], clone, environ)[0]
                for _ in range(3)
            )
            for stage in STAGES
        }
        start_up_s = train_start_up_s(clone, environ)
        models = {
            path.parent.name: json.loads(path.read_text())
            for path in sorted(clone.glob("reports/*/metrics.json"))
        }
        result = {
            "command": "python bench/pipeline.py",
            "machine": describe(),
            "commit": subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip(),
            "set_up_s": set_up_s,
            "repro_s": round(repro_s, 2),
            "stages_s": stages_s,
            "set_up_and_repro_s": round(set_up_s + repro_s, 2),
            "unchanged_repro_s": statistics.median(seconds for seconds, _ in unchanged),
            "import_s": imports,
            "train_start_up_s": start_up_s,
            "test_accuracy": {name: metrics["accuracy"] for name, metrics in models.items()},
        }
    write_json(arguments.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
