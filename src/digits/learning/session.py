"""One training, from a resolved configuration to a bundle, through Lightning's Trainer.

N images, B batch, H/W pixels, K classes.
"""

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from pytorch_lightning.utilities.model_summary.model_summary import ModelSummary
from safetensors.torch import save

from digits import settings
from digits.files import write_json
from digits.learning import ranks
from digits.learning.calibration import fit_temperature
from digits.learning.checkpoint import LastEpoch, Row
from digits.learning.data import DigitsDataModule, epoch_seed
from digits.learning.device import choose_device, keep_freed_memory
from digits.learning.export import check_parity, load_network, to_onnx
from digits.learning.extras import read_extras
from digits.learning.images import sheet
from digits.learning.learner import Learner, TrainingDiverged
from digits.learning.models import Network, make_body, num_parameters
from digits.learning.progress import Progress
from digits.reading.predictor import FORMAT
from digits.reading.rejection import familiarity, fit_threshold
from digits.scores import accuracy

# 700 images in 18 steps were read at 27 %, in 180 steps at 98 %.
FEW_STEPS = 100
LAYERS = {"Conv2d": "conv", "Linear": "dense"}  # those with weights, by what conf/ calls them


class Session:
    """A training made ready: `fit` trains, `write_bundle` exports.

    `scratch` is where the last finished epoch is kept until the training is done; what is found
    there is gone on with.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        data: dict[str, Any],
        scratch: Path,
        place: ranks.Place | None = None,
    ) -> None:
        keep_freed_memory()
        training = config["training"]
        accelerator, precision = choose_device(**config["trainer"])
        self.device = {**config["trainer"], "accelerator": accelerator, "precision": precision}
        processes = ranks.options(**self.device, place=place)
        num = processes["devices"] * processes.get("num_nodes", 1)
        if num > training["batch_size"]:
            raise ValueError(
                f"training.batch_size={training['batch_size']} is less than an image for each of "
                f"{num} processes; let fewer train together"
            )
        self.description = f"{f'{num} x ' if num > 1 else ''}{accelerator} {precision}"
        self._follow = partial(follow, config, data=data, scratch=scratch)
        self._facts = data
        self._seed = config["seed"]
        self._name = config["model"]["name"]
        self._refuse = config["refuse"]
        torch.manual_seed(self._seed)
        self._model = config["model"]
        num_classes = len(data["classes"])
        extras = read_extras(
            settings.synthetic_file(config["data"]),
            num_classes=num_classes,
            **settings.synthetic_shares(config["synthetic"]),
            **{key: config["synthetic"][key] for key in ("nondigits_until", "nondigits_late")},
        )
        # One more for what is none of the classes, where that is learnt.
        knows_others = any(num_classes in extra.labels for extra in extras)
        self._num_outputs = num_classes + knows_others
        body = make_body(self._model, image_size=data["image_size"], num_outputs=self._num_outputs)
        self._augment = instantiate(config["augment"])
        self._data = DigitsDataModule(
            Path(config["prepared"]),
            batch_size=training["batch_size"],
            seed=self._seed,
            extras=extras,
            fold=config["fold"],
            num_folds=config["num_folds"],
        )
        self._data.setup("fit")
        total_steps = training["epochs"] * self._data.steps_per_epoch
        if total_steps < FEW_STEPS:
            print(
                f"{self._name}: only {total_steps} steps of training, which is too few to learn "
                "much; give it more by training.epochs or a smaller training.batch_size",
                file=sys.stderr,
                flush=True,
            )
        self._learner = Learner(
            Network(body, mean=data["mean"], std=data["std"]),
            augment=self._augment,
            optimizer=instantiate(config["optimizer"]),
            schedule=instantiate(config["schedule"]),
            label_smoothing=training["label_smoothing"],
            num_classes=num_classes,
            total_steps=total_steps,
            keep_best=training["keep"] == "best",
            seed=self._seed,
            teacher=self._teacher(training["teacher"]),
            compiled_by=self.device["compile"],
        )
        size = data["image_size"]
        self._learner.example_input_array = torch.zeros(1, size, size, dtype=torch.uint8)
        self._progress = Progress(self._name, steps_per_epoch=self._data.steps_per_epoch)
        self._on_epoch: Callable[[Row], None] = lambda row: None
        self._last = LastEpoch(scratch, saved=self._epoch_saved)
        with warnings.catch_warnings():
            # Lightning recommends DataLoader workers, which this does without on purpose.
            warnings.simplefilter("ignore")
            self._trainer = pl.Trainer(
                max_epochs=training["epochs"],
                accelerator=accelerator,
                **processes,
                precision=precision,  # type: ignore[arg-type]
                callbacks=[self._last, self._progress],
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
        # On SIGTERM Lightning's own handler first sends the other processes a message, for which
        # they do not wait; so all would hang. `digits.train` has a handler already.
        self._trainer._signal_connector.register_signal_handlers = (  # type: ignore[method-assign]
            lambda: None
        )

    def _teacher(self, bundle: str | None) -> Network | None:
        if not bundle:
            return None
        teacher, num_outputs = load_network(Path(bundle))
        if num_outputs < self._num_outputs:
            raise ValueError(
                f"training.teacher={bundle} has not learnt what is no digit, which it is to teach; "
                "train without that, synthetic=none, or take another teacher"
            )
        return teacher

    def outline(self) -> str:
        """Two lines: what is trained, on what, for how long; and its layers."""
        epochs = self._trainer.max_epochs
        return (
            f"{self._name}: {num_parameters(self._learner.network):,} parameters, "
            f"{self.num_train:,} images, {epochs} epoch{'s' * (epochs != 1)} of "
            f"{self._data.steps_per_epoch} steps on {self.description}\n"
            f"{self._name}: {self._layers()}"
        )

    def _layers(self) -> str:
        """The layers with weights of one member, each with the size of what it gives."""
        summary = ModelSummary(self._learner, max_depth=-1)
        rows = zip(summary.layer_types, summary.out_sizes, strict=True)
        layers = [
            f"{LAYERS[kind]} {'x'.join(map(str, size[1:]))}"
            for kind, size in rows
            if kind in LAYERS
        ]
        members = self._learner.network.num_members
        many = f"{members} x " if members > 1 else ""
        size = "x".join([str(self._facts["image_size"])] * 2)
        others = self._num_outputs - len(self._facts["classes"])
        last = " (the last for what is none of the classes)" if others else ""
        return f"{many}{size}, {', '.join(layers[: len(layers) // members])}{last}"

    def architecture(self) -> str:
        """A line a layer, with shapes and parameters."""
        return str(ModelSummary(self._learner, max_depth=-1))

    @property
    def train_images(self) -> NDArray[np.uint8]:
        """The training images (N, H, W)."""
        return self._data.arrays["train_images"]

    @property
    def num_train(self) -> int:
        return len(self._data.arrays["train_labels"])

    @property
    def num_val(self) -> int:
        return len(self._data.arrays["val_labels"])

    def finished(self) -> list[Row]:
        """A row for each epoch that an interrupted training left; a damaged rest is dropped."""
        try:
            return self._last.read_history()
        except ValueError as error:
            print(f"{self._name}: {error}, starting anew", file=sys.stderr, flush=True)
            self._last.path.unlink()
            return []

    def fit(self, *, on_epoch: Callable[[Row], None]) -> list[Row]:
        """Train, or go on where an interrupted training stopped; return a row an epoch.

        `on_epoch` is called with the row of each epoch that is trained now, once it is saved.
        """
        self._on_epoch = on_epoch
        with ranks.together(self._trainer, self._follow), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            finished = self.finished()
            if finished:
                print(f"{self._name}: going on after epoch {len(finished)}", flush=True)
            self._trainer.fit(
                self._learner,
                datamodule=self._data,
                ckpt_path=str(self._last.path) if finished else None,
                weights_only=True,
            )
        return self._learner.history

    def _epoch_saved(self) -> None:
        row = self._learner.history[-1]
        self._progress.epoch_ended(self._trainer, row)
        self._on_epoch(row)

    def write_bundle(self, folder: Path, *, lineage: dict[str, Any]) -> dict[str, Any]:
        """Fill an empty folder with the bundle and return its model.json.

        Raises ValueError when ONNX Runtime and torch disagree on a validation image. The same
        training gives the same bytes.
        """
        network = self._learner.trained_network()
        size = self._facts["image_size"]
        frames_NHW, labels_N = self._data.arrays["val_images"], self._data.arrays["val_labels"]
        onnx_model = to_onnx(network, image_size=size)
        outputs_NK = check_parity(network, onnx_model, frames_NHW)
        logits_NK = outputs_NK[:, : len(self._facts["classes"])]
        meta = {
            "format": FORMAT,
            "name": self._name,
            "classes": self._facts["classes"],
            "input": {
                "size": size,
                "range": "uint8, 0 = paper, 255 = ink",
                "mean": self._facts["mean"],
                "std": self._facts["std"],
            },
            "num_parameters": num_parameters(network),
            "network": {
                **{key: value for key, value in self._model.items() if key != "name"},
                "num_outputs": self._num_outputs,
            },
            "calibration": {"temperature": fit_temperature(logits_NK, labels_N)},
            "rejection": {
                "threshold": fit_threshold(
                    familiarity(outputs_NK, num_classes=logits_NK.shape[1]), refuse=self._refuse
                ),
                "refused": self._refuse,  # this share of the validation images
            },
            "validation": {
                "accuracy": accuracy(labels_N, logits_NK.argmax(axis=1)),
                "num": len(labels_N),
            },
            "lineage": lineage,
        }
        (folder / "model.onnx").write_bytes(onnx_model)
        weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        # `save_file` would report a full disk by an exception of its own.
        (folder / "weights.safetensors").write_bytes(save(weights))
        write_json(folder / "model.json", meta)
        return meta

    def sample_sheet(self) -> NDArray[np.uint8]:
        """A hundred training images as the network sees them in its first epoch."""
        generator = torch.Generator().manual_seed(epoch_seed(self._seed, 0))
        images_B1HW = torch.from_numpy(self.train_images[:100]).unsqueeze(1).float() / 255
        return sheet(self._augment(images_B1HW, generator, 0.0) * 255, columns=10)


def follow(
    config: dict[str, Any],
    place: ranks.Place | None = None,
    *,
    data: dict[str, Any],
    scratch: Path,
) -> None:
    """Train as a process of another rank than 0, which says and writes what there is to."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        session = Session(config, data=data, scratch=scratch, place=place)
        with suppress(TrainingDiverged):
            session.fit(on_epoch=lambda row: None)
