"""How long a training takes to 99.0, 99.5 and 99.7 % of the test images, beside the example that
everybody starts from.

    python bench/time_to_accuracy.py [--seeds 1 2 3 4 5] [--presets speed_99 ...] [--no-example]

Each preset of conf/experiment/ is a schedule that ends: what counts is the accuracy of its last
epoch and the seconds of its training loop, start-up, validation and export apart. The example is
the one of PyTorch's own collection, as it stands: its time to an accuracy ends with the first
epoch after which its mean over the seeds is there. Both learn from the same images and use all
cores. The same command goes on where it stopped. Writes bench/time_to_accuracy.json and
docs/time-to-accuracy.md.
"""

import argparse
import inspect
import os
import statistics
import time
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import trainings
from digits import configuration
from digits.files import replacing
from digits.training import read_data_facts

OUT = Path("bench/time_to_accuracy.json")
TABLE = Path("docs/time-to-accuracy.md")
TARGETS = {"speed_99": 0.99, "speed_99_5": 0.995, "speed_99_7": 0.997}
PAGE = """\
# How long to how much accuracy

Written by `python bench/time_to_accuracy.py`, which says what is measured; every training is in
bench/time_to_accuracy.json. Mean ± sample standard deviation over n seeds, accuracy on the 10,000
test images after the last epoch. A preset is run by `python -m digits.train experiment=speed_99`;
its name is what it is meant to reach, and it trains in bfloat16. The example is two 3x3
convolutions (32 and 64), dropout, a dense layer of 128, Adadelta and batches of 64 from a
`DataLoader`, 14 epochs, in float32 as it is written everywhere; its seconds are those to the end of
the first epoch whose mean is there, and the n of the ratios is its own, in the last line.

{table}

On: {machines}.
"""
EXAMPLE = "example"
EPOCHS = 14  # of the example


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images made tensors one by one, as tutorials do."""

    def __init__(self, images_NHW: Any, labels_N: Any) -> None:
        self._images_NHW = images_NHW
        self._labels_N = labels_N
        self._transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        )

    def __len__(self) -> int:
        return len(self._labels_N)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self._transform(Image.fromarray(self._images_NHW[index]))
        return image, int(self._labels_N[index])


def example(config: dict[str, Any], *, epochs: int) -> dict[str, Any]:
    """The common example: each epoch's seconds of training and accuracy on the test images."""
    torch.manual_seed(config["seed"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with np.load(Path(config["prepared"]) / "train.npz") as arrays:
        train = Pictures(arrays["train_images"], arrays["train_labels"])
    test = Pictures(*trainings.test_set(config))
    train_loader = DataLoader(train, batch_size=64, shuffle=True)
    test_loader = DataLoader(test, batch_size=1000)
    side = (train[0][0].shape[-1] - 4) // 2
    network = nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Dropout(0.25), nn.Flatten(), nn.Linear(64 * side**2, 128), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(128, 10)),
    ).to(device)
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    seconds, accuracies = [], []
    for epoch in range(epochs):
        started_s = time.perf_counter()
        network.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
        schedule.step()
        loss.item()  # waits for a GPU
        seconds.append(round(time.perf_counter() - started_s, 3))
        network.eval()
        with torch.inference_mode():
            right = [
                network(images.to(device)).argmax(1) == labels.to(device)
                for images, labels in test_loader
            ]
        accuracies.append(torch.cat(right).float().mean().item())
        print(f"example epoch {epoch + 1}/{epochs}  test {accuracies[-1]:.2%}  {seconds[-1]:.0f} s")
    return {
        "accuracy": accuracies[-1],
        "accuracies": accuracies,
        "epochs_s": seconds,
        "train_s": round(sum(seconds), 3),
        "num_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "trainer": f"{device} 32-true",
    }


def time_to(rows: list[dict[str, Any]], target: float) -> tuple[float, int] | None:
    """Mean seconds and epochs until the example's mean accuracy reaches the target; None if never.

    Rows of trainings cut to fewer epochs count up to where all have got to.
    """
    for epoch, accuracies in enumerate(zip(*(row["accuracies"] for row in rows), strict=False)):
        if statistics.fmean(accuracies) >= target:
            seconds = (list(accumulate(row["epochs_s"]))[epoch] for row in rows)
            return statistics.fmean(seconds), epoch + 1
    return None


def table(results: trainings.Results) -> str:
    """Markdown: a line a preset, with the example's time to the same accuracy and the ratio."""
    examples = results.of(EXAMPLE)
    lines = [
        "| Goal, % | Preset | Parameters | Test accuracy, % | Loop, s | n | Example, s | Ratio |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for preset, target in TARGETS.items():
        rows = results.of(preset)
        if not rows:
            continue
        ours_s = statistics.fmean(row["train_s"] for row in rows)
        theirs, ratio = "-", "-"
        if examples and (reached := time_to(examples, target)):
            theirs = f"{reached[0]:.0f} (epoch {reached[1]})"
            ratio = f"{reached[0] / ours_s:.0f}"
        elif examples:
            whole_s = statistics.fmean(row["train_s"] for row in examples)
            theirs, ratio = f"never in {whole_s:.0f}", f"> {whole_s / ours_s:.1f}"
        accuracy = trainings.spread([100 * row["accuracy"] for row in rows], digits=2)
        loop_s = trainings.spread([row["train_s"] for row in rows], digits=1)
        cells = [f"{target:.1%}".rstrip("%"), preset, f"{rows[0]['num_parameters']:,}", accuracy]
        lines.append(f"| {' | '.join([*cells, loop_s, str(len(rows)), theirs, ratio])} |")
    if examples:
        accuracy = trainings.spread([100 * row["accuracy"] for row in examples], digits=2)
        loop_s = trainings.spread([row["train_s"] for row in examples], digits=1)
        cells = ["", "the example", f"{examples[0]['num_parameters']:,}", accuracy, loop_s]
        lines.append(f"| {' | '.join([*cells, str(len(examples)), '', ''])} |")
    return "\n".join(lines)


def page(results: trainings.Results) -> str:
    """docs/time-to-accuracy.md, whole."""
    machines = {
        f"{row['machine']['cpu']}, {row['machine']['num_cpus']} cores, {row['trainer']}"
        for row in results.rows
    }
    return PAGE.format(table=table(results), machines="; ".join(sorted(machines)))


def write(results: trainings.Results) -> None:
    """Replace docs/time-to-accuracy.md."""
    with replacing(TABLE) as beside:
        beside.write_text(page(results), encoding="utf-8")


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--presets", nargs="*", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--no-example", action="store_true", help="presets alone")
    parser.add_argument("--epochs", type=int, help="instead of their own, for a try")
    arguments = parser.parse_args(given)
    results = trainings.Results(OUT, "python bench/time_to_accuracy.py")
    cut = [f"training.epochs={arguments.epochs}"] if arguments.epochs else []
    for seed in arguments.seeds:
        for preset in arguments.presets:
            config = configuration.compose([f"experiment={preset}", f"seed={seed}", *cut])
            label = f"{preset} seed={seed}"
            measure = partial(trainings.train_and_score, config, label=label, corrupted=False)
            results.add(preset, seed, trainings.fingerprint(config), measure)
        if not arguments.no_example:
            epochs = arguments.epochs or EPOCHS
            config = configuration.compose([f"seed={seed}"])
            data = read_data_facts(Path(config["prepared"]))
            source = inspect.getsource(Pictures) + inspect.getsource(example)
            known = configuration.fingerprint({"seed": seed}, data["digest"], source, str(epochs))
            results.add(EXAMPLE, seed, known, partial(example, config, epochs=epochs))
        write(results)
    print(table(results))


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", "time-to-accuracy")
    main()
