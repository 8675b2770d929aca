"""What Lightning, MLflow and Hydra cost over a bare PyTorch loop of the same training.

    python bench/overhead.py [--pairs 4]

The same network, batches, steps, augmentation, precision and validation, in one process and in
turn: bare, ours, ours, bare, … The ratio of each pair is what counts, since machines drift.
Start-up is apart: see bench/pipeline.py. Writes bench/overhead.json.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from hydra.utils import instantiate

from digits import configuration
from digits.files import write_json
from digits.learning.data import DigitsDataModule, epoch_seed
from digits.learning.device import choose_device, keep_freed_memory
from digits.learning.models import Network
from digits.learning.session import Session
from digits.runs import tracking
from digits.train import read_data_facts
from machine import describe

OUT = Path("bench/overhead.json")


def bare_s(config: dict[str, Any], facts: dict[str, Any]) -> tuple[float, float]:
    """Seconds of a loop anyone would write, and its last validation accuracy."""
    seed, epochs = config["seed"], config["training"]["epochs"]
    accelerator, precision = choose_device(**config["trainer"])
    device = "cuda" if accelerator == "gpu" else "cpu"
    torch.manual_seed(seed)
    body = instantiate(
        config["model"]["network"],
        image_size=facts["image_size"],
        num_classes=len(facts["classes"]),
    )
    network = Network(body, mean=facts["mean"], std=facts["std"])
    network = network.to(device, memory_format=torch.channels_last)
    augment = instantiate(config["augment"])
    data = DigitsDataModule(
        Path(config["prepared"]), batch_size=config["training"]["batch_size"], seed=seed
    )
    data.setup("fit")
    images, labels = (torch.from_numpy(data.arrays[f"train_{k}"]) for k in ("images", "labels"))
    images, labels = images.to(device), labels.long().to(device)
    batch_size = config["training"]["batch_size"]
    steps = len(labels) // batch_size
    optimizer = instantiate(config["optimizer"])(network.parameters())
    schedule = instantiate(config["schedule"])(optimizer, total_steps=steps * epochs)
    mixed = precision == "bf16-mixed"

    started_s = time.perf_counter()
    for epoch in range(epochs):
        network.train()
        generator = torch.Generator(device).manual_seed(epoch_seed(seed, epoch))
        shuffle = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = torch.randperm(len(labels), generator=shuffle).to(device)
        for step in range(steps):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            batch = augment(images[chosen].unsqueeze(1).float() / 255, generator)
            with torch.autocast(device, torch.bfloat16, enabled=mixed):
                logits = network.logits(batch.contiguous(memory_format=torch.channels_last))
                loss = F.cross_entropy(
                    logits.float(),
                    labels[chosen],
                    label_smoothing=config["training"]["label_smoothing"],
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        right = 0
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=mixed):
            for frames, answers in data.val_dataloader():
                right += int((network(frames.to(device)).argmax(1) == answers.to(device)).sum())
    return time.perf_counter() - started_s, right / len(data.arrays["val_labels"])


def ours_s(config: dict[str, Any], facts: dict[str, Any]) -> tuple[float, float]:
    """Seconds of the same training as `digits.train` does it, logging to MLflow as it goes."""
    with tempfile.TemporaryDirectory() as scratch:
        session = Session(config, data=facts, scratch=Path(scratch) / "checkpoints")
        with tracking.run(name="overhead", tags={}) as tracked:
            started_s = time.perf_counter()
            history = session.fit(
                on_epoch=lambda row: tracked.log_metrics(row, step=int(row["epoch"]))
            )
            return time.perf_counter() - started_s, history[-1]["val_accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--epochs", type=int, help="instead of each model's own")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    facts = read_data_facts(Path("data/prepared"))
    result: dict[str, Any] = {"command": "python bench/overhead.py", "machine": describe()}
    with tempfile.TemporaryDirectory() as store:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{store}/mlflow.db"
        for model in arguments.models:
            config = configuration.compose([f"model={model}"])
            keep_freed_memory()  # for both alike, before either runs
            if arguments.epochs:
                config["training"]["epochs"] = arguments.epochs
            bare_s({**config, "training": {**config["training"], "epochs": 1}}, facts)  # warm up
            pairs = []
            for number in range(arguments.pairs):
                timed = {}
                for loop in (bare_s, ours_s) if number % 2 == 0 else (ours_s, bare_s):
                    timed[loop] = loop(config, facts)
                bare, bare_accuracy = timed[bare_s]
                ours, ours_accuracy = timed[ours_s]
                pairs.append({"bare_s": round(bare, 2), "ours_s": round(ours, 2)})
                # The same training, or the comparison means nothing.
                assert abs(bare_accuracy - ours_accuracy) < 0.005, (bare_accuracy, ours_accuracy)
            ratios = [pair["ours_s"] / pair["bare_s"] for pair in pairs]
            result[model] = {"ratio": round(statistics.median(ratios), 3), "pairs": pairs}
            print(f"{model}: ours / bare = {result[model]['ratio']:.3f} (median of {pairs})")
    write_json(arguments.out, result)


if __name__ == "__main__":
    main()
