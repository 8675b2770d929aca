"""Train one model and write its bundle; the run is logged to MLflow as it goes.

    python -m digits.train model=cnn            one training
    python -m digits.train -m model=mlp,cnn seed=1,2,3      a sweep
    python -m digits.train --cfg job            what would be trained, without training

Reads data/NAME/prepared/ and the configuration Hydra composes of conf/ and params.yaml. Writes, in
`out`: bundle/ (what is served), run.json (the MLflow run) and history.csv (a line an epoch).
"""

import csv
import errno
import gc
import logging
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from digits import configuration, sweep
from digits.files import read_json, replacing, replacing_folder, write_json
from digits.runs import labels, lineage, sweeps, tracking, unfinished

CHECKPOINTS = Path("checkpoints")
# No space left, over the quota, over the largest file allowed.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
GO_ON = "the same command goes on after the last finished epoch"


class Stopped(BaseException):
    """A signal asked the training to stop; no `except Exception` may take it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


def run(config: dict[str, Any], *, out: Path, resume: bool, label: labels.Label) -> dict[str, Any]:
    """Train as configured and return what run.json holds.

    Raises FileNotFoundError when nothing is prepared, ValueError for a setting that cannot work
    or a loss that diverged, TrackingError when MLflow cannot be reached. Whatever it raises, `out`
    holds no half-written bundle and the MLflow run says that it failed.
    """
    # Torch, Lightning and MLflow take seconds to load: what can be answered without them is.
    configuration.check(config)
    data = read_data_facts(Path(config["prepared"]))
    _make_folder(out)
    tracking.check_reachable()
    _load_libraries()
    from digits.learning.device import choose_device

    choose_device(**config["trainer"])  # says at once that there is no GPU
    fingerprint = configuration.training_fingerprint(config, data_digest=data["digest"])
    scratch = CHECKPOINTS / fingerprint[:16]
    with unfinished.only_one(scratch, resume=resume):
        return _train(config, data=data, scratch=scratch, out=out, label=label)


def _train(
    config: dict[str, Any], *, data: dict[str, Any], scratch: Path, out: Path, label: labels.Label
) -> dict[str, Any]:
    from digits.learning import session

    for chatty in ("pytorch_lightning", "onnxscript", "onnx_ir"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    training = session.Session(config, data=data, scratch=scratch)
    print(training.outline(), flush=True)
    with tracking.run(
        name=label.name,
        tags=labels.of_training(config, data) | label.tags,
        resume=unfinished.read_run_id(scratch),
    ) as tracked:
        unfinished.write_run_id(scratch, tracked.run_id)
        counts = {"num_train": training.num_train, "num_val": training.num_val}
        described = {key: data[key] for key in ("name", "digest", "image_size")} | counts
        tracked.log_params({**config, "data": described, "trainer": training.device})
        tracked.log_dataset(
            name=data["name"],
            digest=data["digest"],
            images=training.train_images,
            source=config["prepared"],
            context="training",
        )
        tracked.log_text(training.architecture(), "architecture.txt")
        started_s = time.perf_counter()
        history = _fit(training, tracked, scratch)
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
                    "teacher_sha256": configuration.teacher_sha256(config),
                    "synthetic_sha256": configuration.synthetic_sha256(config),
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
    return {**result, **meta}


def _load_libraries() -> None:
    """Load torch, Lightning and MLflow, without the searches for garbage that find none.

    They make a few million objects that all stay: looking through them again and again is a tenth
    of a training's start (docs/experiments.md).
    """
    gc.disable()
    try:
        tracking.load()
        from digits.learning import session  # noqa: F401
    finally:
        gc.enable()


def read_data_facts(prepared: Path) -> dict[str, Any]:
    """What the prepare stage says of the images: name, digest, mean, std, classes, size."""
    return read_json(prepared / "data.json", stage="prepare")


def _make_folder(out: Path) -> None:
    """Make sure, before hours are spent on it, that there is a place for the result."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"out={out} cannot be made: {error.strerror}; choose another folder"
        ) from error


def _fit(training: Any, tracked: tracking.Run, scratch: Path) -> list[dict[str, float]]:
    from digits.learning.learner import TrainingDiverged

    finished = training.finished()
    # What an interrupted training left may be logged already, or may not.
    logged = tracked.logged_steps("val_accuracy")

    def log(row: dict[str, float]) -> None:
        if int(row["epoch"]) not in logged:
            tracked.log_metrics(row, step=int(row["epoch"]))

    for row in finished:
        log(row)
    try:
        history: list[dict[str, float]] = training.fit(on_epoch=log)
    except TrainingDiverged:
        # Going on from there would only diverge again.
        unfinished.forget(scratch)
        raise
    return history


def _label(config: dict[str, Any]) -> labels.Label:
    job = HydraConfig.get()
    asked = list(job.overrides.task)
    swept = job.mode is RunMode.MULTIRUN
    return labels.Label(
        name=labels.run_name(config["model"]["name"], config["seed"], asked),
        tags=sweeps.child_tags(Path(job.sweep.dir), asked) if swept else {},
    )


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
            "bundle/val_accuracy": meta["validation"]["accuracy"],
            "bundle/num_parameters": meta["num_parameters"],
            "bundle/temperature": meta["calibration"]["temperature"],
        },
        step=len(history),
    )
    tracked.describe(
        f"**{meta['name']}**, {meta['num_parameters']:,} parameters: "
        f"{meta['validation']['accuracy']:.2%} of {meta['validation']['num']:,} validation images "
        f"after {len(history)} epochs on {training.description}."
    )
    tracked.log_files(bundle, "bundle")
    if lineage.LOCK.exists():
        tracked.log_files(lineage.LOCK)
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

    num_failed = 0

    @hydra.main(version_base="1.3", config_path=str(conf), config_name="train")
    def job(config: DictConfig) -> float:
        nonlocal num_failed
        try:
            plain = configuration.plain(config)
            out = Path(config.out)
            result = run(plain, out=out, resume=config.resume, label=_label(plain))
        except Stopped as stopped:
            print(f"train: stopped by {stopped}; {GO_ON}", file=sys.stderr)
            raise SystemExit(stopped.exit_status) from None
        except (ValueError, OSError, tracking.TrackingError, HydraException) as error:
            if HydraConfig.get().mode is not RunMode.MULTIRUN:
                raise SystemExit(f"train: {_sentence(error)}") from error
            # One bad combination of a sweep does not cost the others.
            print(f"train: {_sentence(error)}", file=sys.stderr, flush=True)
            num_failed += 1
            return float("nan")
        print(
            f"{plain['model']['name']}: {result['num_parameters']:,} parameters, validation "
            f"{result['validation']['accuracy']:.2%} of {result['validation']['num']:,} images, "
            f"trained in {result['train_s']:.0f} s on {result['trainer']}; {out / 'bundle'}, "
            f"run {result['run_id']}",
            flush=True,
        )
        return float(result["validation"]["accuracy"])

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        job()
    except Stopped as stopped:  # before or after the training itself
        raise SystemExit(stopped.exit_status) from None
    finally:
        sweep.close_what_was_stopped()
    if num_failed:
        raise SystemExit(f"train: {num_failed} of the sweep's trainings failed, see above")


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return f"the disk is full ({error.strerror}); free some space, then {GO_ON}"
    return configuration.one_line(error)


if __name__ == "__main__":
    main()
