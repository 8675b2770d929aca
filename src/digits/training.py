"""One training of one model: its images, its run in MLflow, its bundle."""

import csv
import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from digits import configuration, overrides, settings
from digits.files import read_json, replacing, replacing_folder, write_json
from digits.runs import labels, lineage, recording, tracking, unfinished

CHECKPOINTS = Path("checkpoints")
OnEpoch = Callable[[dict[str, float]], None]  # is given the figures of each epoch


def run(
    config: dict[str, Any],
    *,
    out: Path,
    resume: bool,
    label: labels.Label,
    on_epoch: OnEpoch = lambda row: None,
) -> dict[str, Any]:
    """Train as configured and return what run.json holds.

    Raises FileNotFoundError when nothing is prepared, ValueError for a setting that cannot work
    or a loss that diverged, TrackingError when MLflow cannot be reached before the first epoch, and
    GivenUp when `on_epoch` does, which is given the figures of each epoch. Whatever it raises,
    `out` holds no half-written bundle and the MLflow run says how it ended. MLflow that is lost
    later costs nothing: `digits.runs.unsent` keeps what it misses.
    """
    # Torch, Lightning and MLflow take seconds to load: what can be answered without them is.
    configuration.check(config)
    data = read_data_facts(Path(config["prepared"]))
    _make_folder(out)
    tracking.check_reachable()
    _load_libraries()
    overrides.expect_accepted(config)
    from digits.learning.device import choose_device

    choose_device(**config["trainer"])  # says at once that there is no GPU
    fingerprint = configuration.training_fingerprint(config, data_digest=data["digest"])
    scratch = CHECKPOINTS / fingerprint[:16]
    with unfinished.only_one(scratch, resume=resume):
        return _train(config, data=data, scratch=scratch, out=out, label=label, on_epoch=on_epoch)


def follow(config: dict[str, Any]) -> None:
    """Be one of several processes that train together, of another rank than 0: see learning.ranks.

    Raises as `run` does, and writes nothing.
    """
    configuration.check(config)
    data = read_data_facts(Path(config["prepared"]))
    fingerprint = configuration.training_fingerprint(config, data_digest=data["digest"])
    from digits.learning import session

    session.follow(config, data=data, scratch=CHECKPOINTS / fingerprint[:16])


def _train(
    config: dict[str, Any],
    *,
    data: dict[str, Any],
    scratch: Path,
    out: Path,
    label: labels.Label,
    on_epoch: OnEpoch,
) -> dict[str, Any]:
    from digits.learning import session

    for chatty in ("pytorch_lightning", "onnxscript", "onnx_ir"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    training = session.Session(config, data=data, scratch=scratch)
    print(training.outline(), flush=True)
    with recording.run(
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
        history = _fit(training, tracked, scratch, on_epoch=on_epoch)
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
                "trainer": training.description,
                "epochs": len(history),
                "num_train": training.num_train,
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
    try:
        return read_json(prepared / "data.json", stage="prepare synthesize")
    except FileNotFoundError as missing:
        name = prepared.parent.name
        if prepared != settings.prepared_folder(name) or name == settings.load_params().data_name:
            raise
        raise FileNotFoundError(
            f"{missing.args[0].partition(';')[0]}; the pipeline's data is another: run `python -m "
            f"digits.fetch --data {name}`, then `python -m digits.prepare --data {name}`"
        ) from None


def _make_folder(out: Path) -> None:
    """Make sure, before hours are spent on it, that there is a place for the result."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"out={out} cannot be made: {error.strerror}; choose another folder"
        ) from error


def _fit(
    training: Any,
    tracked: recording.Run,
    scratch: Path,
    *,
    on_epoch: OnEpoch,
) -> list[dict[str, float]]:
    from digits.learning.learner import TrainingDiverged

    finished = training.finished()
    # What an interrupted training left may be logged already, or may not.
    logged = tracked.logged_steps("val_accuracy")

    def log(row: dict[str, float]) -> None:
        if int(row["epoch"]) not in logged:
            tracked.log_metrics(row, step=int(row["epoch"]))
        on_epoch(row)

    for row in finished:
        log(row)
    try:
        history: list[dict[str, float]] = training.fit(on_epoch=log)
    except (TrainingDiverged, tracking.GivenUp):
        # Going on from there would only end so again.
        unfinished.forget(scratch)
        raise
    return history


def _log_results(
    tracked: recording.Run,
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
        f"after {len(history)} epoch{'s' * (len(history) != 1)} on {training.description}."
    )
    tracked.log_files(bundle, "bundle")
    if lineage.LOCK.exists():
        tracked.log_files(lineage.LOCK)
    tracked.log_figure(figures.learning_curves(history), "learning_curves.png")
    tracked.log_image(training.sample_sheet(), "samples.png")
    requirements = [
        f"{name}=={meta['lineage']['packages'][name]}" for name in ("onnxruntime", "numpy")
    ]
    tracked.log_model(bundle, requirements)


def _write_history(path: Path, history: list[dict[str, float]]) -> None:
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)
