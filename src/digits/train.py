"""Train one model and write its bundle; the run is logged to MLflow as it goes.

    python -m digits.train model=cnn            one training
    python -m digits.train -m model=mlp,cnn seed=1,2,3      a sweep
    python -m digits.train --cfg job            what would be trained, without training

Reads data/prepared/ and the configuration Hydra composes of conf/ and params.yaml. Writes, in
`out`: bundle/ (what is served), run.json (the MLflow run) and history.csv (a line an epoch).
"""

import csv
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from digits import configuration
from digits.files import replacing, replacing_folder, write_json
from digits.runs import lineage, tracking

CHECKPOINTS = Path("checkpoints")


def run(config: dict[str, Any], *, out: Path, resume: bool) -> dict[str, Any]:
    """Train as configured and return what run.json holds.

    Raises FileNotFoundError when nothing is prepared, ValueError for a setting that cannot work
    or a loss that diverged, TrackingError when MLflow cannot be reached. Whatever it raises, `out`
    holds no half-written bundle and the MLflow run says that it failed.
    """
    data = read_data_facts(Path(config["prepared"]))
    # Torch and Lightning take seconds to load: what can be answered without them was.
    from digits.learning import session

    for chatty in ("pytorch_lightning", "onnxscript", "onnx_ir"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    fingerprint = configuration.fingerprint(config, data["digest"], session.code_digest())
    scratch = CHECKPOINTS / fingerprint[:16]
    if not resume:
        shutil.rmtree(scratch, ignore_errors=True)
    state_file = scratch / "run.json"
    state = json.loads(state_file.read_text(encoding="utf-8")) if state_file.exists() else {}
    training = session.Session(config, data=data, scratch=scratch)

    name = config["model"]["name"]
    with tracking.run(
        name=f"{name} seed={config['seed']}", tags=_tags(config, data), resume=state.get("run_id")
    ) as tracked:
        write_json(state_file, {"run_id": tracked.run_id})
        tracked.log_params({**config, "data": _data_params(data)})
        tracked.log_dataset(
            name=data["name"],
            digest=data["digest"],
            images=training.train_images,
            source=config["prepared"],
            context="training",
        )
        started_s = time.perf_counter()
        history = training.fit(on_epoch=lambda m: tracked.log_metrics(m, step=int(m["epoch"])))
        seconds = time.perf_counter() - started_s
        with replacing_folder(out / "bundle") as bundle:
            meta = training.write_bundle(
                bundle,
                lineage={
                    "dataset": data["name"],
                    "fallback": data["fallback"],
                    "data_digest": data["digest"],
                    "seed": config["seed"],
                    "config_digest": configuration.fingerprint(config),
                    "packages": lineage.package_versions(),
                },
            )
            result = {
                "run_id": tracked.run_id,
                "experiment": tracked.experiment,
                "git_commit": lineage.git_commit(),
                "train_s": round(sum(row["epoch_s"] for row in history), 3),
                "loop_s": round(seconds, 3),
                "trainer": training.description,
            }
            _log_results(tracked, training, bundle=bundle, history=history, meta=meta)
        _write_history(out / "history.csv", history)
        write_json(out / "run.json", result)
    # Only now is there nothing left to resume.
    shutil.rmtree(scratch, ignore_errors=True)
    return {**result, **meta}


def read_data_facts(prepared: Path) -> dict[str, Any]:
    """What the prepare stage says of the images: name, digest, mean, std, classes, size."""
    path = prepared / "data.json"
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; run `dvc repro prepare`") from None
    return facts


def _tags(config: dict[str, Any], data: dict[str, Any]) -> dict[str, str]:
    hashes = {f"dvc.{path}": digest for path, digest in lineage.lock_hashes().items()}
    packages = {f"version.{name}": number for name, number in lineage.package_versions().items()}
    return {
        "git_commit": lineage.git_commit() or "",
        "data_digest": data["digest"],
        "dataset": data["name"],
        "fallback": str(data["fallback"]).lower(),
        "model": config["model"]["name"],
        **hashes,
        **packages,
    }


def _data_params(data: dict[str, Any]) -> dict[str, Any]:
    return {key: data[key] for key in ("name", "digest", "num_train", "num_val", "image_size")}


def _log_results(
    tracked: tracking.Run,
    training: Any,
    *,
    bundle: Path,
    history: list[dict[str, float]],
    meta: dict[str, Any],
) -> None:
    from digits.reporting import figures

    tracked.log_metrics(
        {
            "validation_accuracy": meta["validation"]["accuracy"],
            "num_parameters": meta["num_parameters"],
            "temperature": meta["calibration"]["temperature"],
        },
        step=len(history),
    )
    tracked.log_files(bundle, "bundle")
    tracked.log_figure(figures.learning_curves(history), "learning_curves.png")
    tracked.log_image(training.sample_sheet(), "samples.png")
    requirements = [
        f"{name}=={meta['lineage']['packages'][name]}" for name in ("onnxruntime", "numpy")
    ]
    tracked.log_model(bundle, training.train_images[:1], requirements)


def _write_history(path: Path, history: list[dict[str, float]]) -> None:
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)


def main() -> None:
    configuration.register_resolvers()
    conf = Path("conf").resolve()
    if not conf.is_dir():
        raise SystemExit(f"train: {conf} is missing; run from the project's root")

    @hydra.main(version_base="1.3", config_path=str(conf), config_name="train")
    def job(config: DictConfig) -> float:
        try:
            plain = configuration.plain(config)
            result = run(plain, out=Path(config.out), resume=config.resume)
        except (ValueError, OSError, tracking.TrackingError) as error:
            raise SystemExit(f"train: {error}") from error
        print(
            f"{plain['model']['name']}: {result['num_parameters']:,} parameters, validation "
            f"{result['validation']['accuracy']:.2%} of {result['validation']['num']:,} images, "
            f"trained in {result['train_s']:.0f} s on {result['trainer']}, run {result['run_id']}"
        )
        return float(result["validation"]["accuracy"])

    job()


if __name__ == "__main__":
    main()
