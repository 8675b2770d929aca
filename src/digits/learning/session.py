"""One training, from a resolved configuration to a bundle, through Lightning's Trainer.

N images, B batch, H/W pixels, K classes.
"""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from pytorch_lightning.callbacks import ModelCheckpoint
from safetensors.torch import save_file

from digits.files import write_json
from digits.learning.calibration import fit_temperature
from digits.learning.data import DigitsDataModule, epoch_seed, sheet
from digits.learning.export import check_parity, to_onnx
from digits.learning.learner import Learner
from digits.learning.models import Network, num_parameters
from digits.learning.progress import Progress
from digits.reading.predictor import FORMAT
from digits.reading.scores import accuracy

Row = dict[str, float]


class Session:
    """A training made ready: `fit` trains, `write_bundle` exports.

    `scratch` is where the last finished epoch is kept until the training is done; what is found
    there is gone on with.
    """

    def __init__(self, config: dict[str, Any], *, data: dict[str, Any], scratch: Path) -> None:
        accelerator, precision = choose_device(**config["trainer"])
        self.description = f"{accelerator} {precision}"
        self._config = config
        self._facts = data
        self._seed = config["seed"]
        self._checkpoint = scratch / "last.ckpt"
        training = config["training"]
        torch.manual_seed(self._seed)
        body = instantiate(
            config["model"]["network"],
            image_size=data["image_size"],
            num_classes=len(data["classes"]),
        )
        self._augment = instantiate(config["augment"])
        self._data = DigitsDataModule(
            Path(config["prepared"]), batch_size=training["batch_size"], seed=self._seed
        )
        self._data.setup("fit")
        self._learner = Learner(
            Network(body, mean=data["mean"], std=data["std"]),
            augment=self._augment,
            optimizer=instantiate(config["optimizer"]),
            schedule=instantiate(config["schedule"]),
            label_smoothing=training["label_smoothing"],
            seed=self._seed,
        )
        self._progress = Progress(config["model"]["name"])
        saver = ModelCheckpoint(
            scratch,
            filename="last",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        with warnings.catch_warnings():
            # Lightning recommends DataLoader workers, which this does without on purpose.
            warnings.simplefilter("ignore")
            self._trainer = pl.Trainer(
                max_epochs=training["epochs"],
                accelerator=accelerator,
                devices=1,
                precision=precision,  # type: ignore[arg-type]
                callbacks=[saver, self._progress],
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )

    @property
    def train_images(self) -> NDArray[np.uint8]:
        """The training images (N, H, W)."""
        return self._data.arrays["train_images"]

    def fit(self, *, on_epoch: Callable[[Row], None]) -> list[Row]:
        """Train, or go on where an interrupted training stopped; return a row an epoch."""

        def epoch_ended(row: Row) -> None:
            self._progress.epoch_ended(self._trainer, row)
            on_epoch(row)

        self._learner.on_epoch = epoch_ended
        resumable = self._checkpoint.exists()
        if resumable:
            print(f"{self._config['model']['name']}: going on after the last finished epoch")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._trainer.fit(
                self._learner,
                datamodule=self._data,
                ckpt_path=str(self._checkpoint) if resumable else None,
                weights_only=True,
            )
        return self._learner.history

    def write_bundle(self, folder: Path, *, lineage: dict[str, Any]) -> dict[str, Any]:
        """Fill an empty folder with the bundle and return its model.json.

        Raises ValueError when ONNX Runtime and torch disagree on a validation image. The same
        training gives the same bytes.
        """
        network = self._learner.network.cpu().float()
        size = self._facts["image_size"]
        frames_NHW, labels_N = self._data.arrays["val_images"], self._data.arrays["val_labels"]
        onnx_model = to_onnx(network, image_size=size)
        logits_NK = check_parity(network, onnx_model, frames_NHW)
        meta = {
            "format": FORMAT,
            "name": self._config["model"]["name"],
            "classes": self._facts["classes"],
            "input": {
                "size": size,
                "range": "uint8, 0 = paper, 255 = ink",
                "mean": self._facts["mean"],
                "std": self._facts["std"],
            },
            "num_parameters": num_parameters(network),
            "calibration": {"temperature": fit_temperature(logits_NK, labels_N)},
            "validation": {
                "accuracy": accuracy(labels_N, logits_NK.argmax(axis=1)),
                "num": len(labels_N),
            },
            "lineage": lineage,
        }
        (folder / "model.onnx").write_bytes(onnx_model)
        weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        write_json(folder / "model.json", meta)
        return meta

    def sample_sheet(self) -> NDArray[np.uint8]:
        """A hundred training images as the network sees them in its first epoch."""
        generator = torch.Generator().manual_seed(epoch_seed(self._seed, 0))
        images_B1HW = torch.from_numpy(self.train_images[:100]).unsqueeze(1).float() / 255
        return sheet(self._augment(images_B1HW, generator) * 255, columns=10)


def choose_device(*, accelerator: str, precision: str) -> tuple[str, str]:
    """Lightning's accelerator and precision; `auto` takes what this machine does best.

    Raises ValueError when a GPU is asked for and there is none.
    """
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ValueError(
            "trainer=gpu needs a CUDA GPU and torch sees none here; use trainer=auto, or see "
            "`nvidia-smi`"
        )
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        processor = torch.cpu.get_capabilities()
        # Without these instructions bfloat16 is emulated, several times slower than float32.
        fast = accelerator == "gpu" or any(
            processor.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")
        )
        precision = "bf16-mixed" if fast else "32-true"
    return accelerator, precision


def code_digest() -> str:
    """A digest of this package's source: a training is not resumed by other code."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
