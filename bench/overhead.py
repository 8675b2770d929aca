"""What Lightning, MLflow and Hydra cost over a bare PyTorch loop of the same training.

    python bench/overhead.py [--repeats 3] [--epochs 4]

The same network, batches, steps, augmentation, precision and validation, in one process and in
turn: an epoch of ours, an epoch of the bare loop, and so on, because a machine's speed may change
from one second to the next. What counts is the ratio of the two sums. Start-up is apart: see
bench/pipeline.py. Writes bench/overhead.json.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
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
from digits.runs import recording
from digits.training import read_data_facts
from machine import describe

OUT = Path("bench/overhead.json")


def bare(config: dict[str, Any], facts: dict[str, Any]) -> Iterator[tuple[float, float]]:
    """A loop anyone would write: each epoch's seconds and validation accuracy, as it is asked."""
    seed, epochs = config["seed"], config["training"]["epochs"]
    accelerator, precision = choose_device(**config["trainer"])
    device = "cuda" if accelerator == "gpu" else "cpu"
    torch.manual_seed(seed)
    body = instantiate(
        config["model"]["network"],
        image_size=facts["image_size"],
        num_outputs=len(facts["classes"]),
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

    for epoch in range(epochs):
        started_s = time.perf_counter()
        network.train()
        generator = torch.Generator(device).manual_seed(epoch_seed(seed, epoch))
        shuffle = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = torch.randperm(len(labels), generator=shuffle).to(device)
        for step in range(steps):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            progress = (epoch * steps + step) / (steps * epochs)
            batch = augment(images[chosen].unsqueeze(1).float() / 255, generator, progress)
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
        yield time.perf_counter() - started_s, right / len(data.arrays["val_labels"])


def in_turn(config: dict[str, Any], facts: dict[str, Any]) -> tuple[float, float]:
    """Seconds of a training as `digits.train` does it, logging to MLflow, and of the bare loop."""
    bare_epochs = bare(config, facts)
    bare_s = away_s = 0.0
    accuracies = {}

    def on_epoch(row: dict[str, float]) -> None:
        nonlocal bare_s, away_s
        tracked.log_metrics(row, step=int(row["epoch"]))
        left_s = time.perf_counter()
        epoch_s, accuracies["bare"] = next(bare_epochs)
        bare_s += epoch_s
        accuracies["ours"] = row["val_accuracy"]
        away_s += time.perf_counter() - left_s

    with tempfile.TemporaryDirectory() as scratch:
        session = Session(config, data=facts, scratch=Path(scratch) / "checkpoints")
        with recording.run(name="overhead", tags={}) as tracked:
            started_s = time.perf_counter()
            session.fit(on_epoch=on_epoch)
            ours_s = time.perf_counter() - started_s - away_s
    # The same training, or the comparison means nothing.
    assert abs(accuracies["bare"] - accuracies["ours"]) < 0.005, accuracies
    return ours_s, bare_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--epochs", type=int, help="instead of each model's own")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    facts = read_data_facts(Path("data/mnist/prepared"))
    asked = f" --epochs {arguments.epochs}" if arguments.epochs else ""
    command = f"python bench/overhead.py{asked}"
    result: dict[str, Any] = {"command": command, "machine": describe()}
    with tempfile.TemporaryDirectory() as store:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{store}/mlflow.db"
        for model in arguments.models:
            # Drawn images would be more for the bare loop to do than anyone would write.
            config = configuration.compose([f"model={model}", "synthetic=none"])
            keep_freed_memory()  # for both alike, before either runs
            if arguments.epochs:
                config["training"]["epochs"] = arguments.epochs
            next(bare(config, facts))  # warm up
            pairs = []
            for _ in range(arguments.repeats):
                ours_s, bare_s = in_turn(config, facts)
                ratio = round(ours_s / bare_s, 3)
                pairs.append(
                    {"ours_s": round(ours_s, 2), "bare_s": round(bare_s, 2), "ratio": ratio}
                )
                print(f"{model}: ours {ours_s:.2f} s, bare {bare_s:.2f} s, ratio {ratio:.3f}")
            median = statistics.median(pair["ratio"] for pair in pairs)
            result[model] = {"ratio": median, "pairs": pairs}
    write_json(arguments.out, result)


if __name__ == "__main__":
    main()
