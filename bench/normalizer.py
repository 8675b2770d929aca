"""What the normaliser costs digits that are in MNIST's frame already: nothing, or nearly.

    python bench/normalizer.py [--images validation]

The packaged model reads the test images as they are, and then each of them as somebody may send
it: as a picture of the same pixels, with its colours swapped, large on a sheet of paper, and with a
dark pen on ruled and on squared paper, all through the normaliser. Writes bench/normalizer.json.
With the validation images, which the normaliser's numbers are chosen with, it writes nothing.

N images, H/W pixels.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from digits import settings
from digits.files import read_json, write_json
from digits.paired import compare
from digits.reading.normalize import normalize
from digits.reading.packaged import packaged_folder
from digits.reading.predictor import Predictor
from machine import heading

OUT = Path("bench/normalizer.json")
# The file and the arrays of the images and of their labels.
IMAGES = {
    "test": ("test.npz", "images", "labels"),
    "validation": ("train.npz", "val_images", "val_labels"),
}
SHEET = 280  # pixels
LARGE = 7  # times a frame's side on the sheet
PLACE = (20, 50)  # of its corner
PAPER, INK, GRAIN = 235, 40, 3  # grey levels of a photo on lined paper; the grain's deviation


def on_a_sheet(image: Image.Image) -> Image.Image:
    """Dark ink on a light sheet, off its centre."""
    side = LARGE * image.width
    sheet = Image.new("L", (SHEET, SHEET), 255)
    large = image.resize((side, side), Image.Resampling.BICUBIC)
    sheet.paste(ImageOps.invert(large), PLACE)
    return sheet


def on_lines(image: Image.Image, *, squared: bool) -> Image.Image:
    """Dark ink on printed lines that run through it, a little aslant, in the grain of a photo.

    Where the lines are and how dark follows from the image itself, so that it is always the same.
    """
    random = np.random.default_rng(int(np.asarray(image).sum()))
    apart, first = int(random.integers(30, 80)), int(random.integers(80))
    level, tilt = int(random.integers(100, 210)), float(random.uniform(-4, 4))
    paper = Image.new("L", (2 * SHEET, 2 * SHEET), PAPER)
    pen = ImageDraw.Draw(paper)
    for at in range(first, 2 * SHEET, apart):
        pen.line([(0, at), (2 * SHEET, at)], fill=level, width=2)
        if squared:
            pen.line([(at, 0), (at, 2 * SHEET)], fill=level, width=2)
    turned = paper.rotate(tilt, Image.Resampling.BICUBIC, fillcolor=PAPER)
    corner = SHEET // 2
    lined_HW = np.asarray(turned.crop((corner, corner, corner + SHEET, corner + SHEET)), float)
    ink_HW = 1 - np.asarray(on_a_sheet(image), float) / 255
    grain_HW = random.normal(0, GRAIN, ink_HW.shape)
    photo_HW = lined_HW * (1 - ink_HW) + np.minimum(lined_HW, INK) * ink_HW + grain_HW
    return Image.fromarray(photo_HW.clip(0, 255).astype(np.uint8))


SENT: dict[str, Callable[[Image.Image], Image.Image]] = {
    "light on dark": lambda image: image,
    "dark on light": ImageOps.invert,
    "large on a sheet": on_a_sheet,
    "on ruled paper": partial(on_lines, squared=False),
    "on squared paper": partial(on_lines, squared=True),
}


def measure(predictor: Predictor, images_NHW: Any, labels_N: Any) -> dict[str, Any]:
    """Accuracy as they are, and for each way of sending them what the normaliser loses."""
    size = predictor.image_size
    right_N = predictor.logits(images_NHW).argmax(axis=1) == labels_N
    ways = {}
    for way, make in SENT.items():
        frames = [normalize(make(Image.fromarray(image)), size=size) for image in images_NHW]
        sent_N = predictor.logits(np.stack(frames)).argmax(axis=1) == labels_N
        found = compare(right_N, sent_N)
        ways[way] = {
            "accuracy": round(float(sent_N.mean()), 5),
            "lost_points": round(-100 * found.difference, 3) + 0.0,
            "only_as_they_are": found.only_first,
            "only_normalised": found.only_second,
        }
    return {
        "num_images": len(labels_N),
        "accuracy_as_they_are": round(float(right_N.mean()), 5),
        "normalised": ways,
    }


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", choices=[*IMAGES], default="test")
    chosen = parser.parse_args(given).images
    prepared = settings.prepared_folder(settings.load_params().data_name)
    file, images, labels = IMAGES[chosen]
    with np.load(prepared / file) as arrays:
        images_NHW, labels_N = arrays[images], arrays[labels]
    folder = packaged_folder()
    model = read_json(folder / "lineage.json", stage="package")
    measured = measure(Predictor.open(folder), images_NHW, labels_N)
    if chosen == "test":
        write_json(OUT, {**heading("python bench/normalizer.py", model), **measured})
    print(f"as they are {measured['accuracy_as_they_are']:.2%} of {measured['num_images']:,}")
    for way, row in measured["normalised"].items():
        print(f"{way:18}{row['accuracy']:.2%}, {row['lost_points']:+.2f} points lost")


if __name__ == "__main__":
    main()
