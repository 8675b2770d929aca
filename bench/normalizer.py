"""What the normaliser costs digits that are in MNIST's frame already: nothing, or nearly.

    python bench/normalizer.py

The packaged model reads the test images as they are, and then each of them as somebody may send
it: as a picture of the same pixels, with its colours swapped, and large on a sheet of paper, all
through the normaliser. Writes bench/normalizer.json.

N images, H/W pixels.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from digits import settings
from digits.files import read_json, write_json
from digits.paired import compare
from digits.reading.normalize import normalize
from digits.reading.packaged import packaged_folder
from digits.reading.predictor import Predictor
from machine import heading

OUT = Path("bench/normalizer.json")
SHEET = 280  # pixels
LARGE = 7  # times a frame's side on the sheet
PLACE = (20, 50)  # of its corner


def on_a_sheet(image: Image.Image) -> Image.Image:
    """Dark ink on a light sheet, off its centre."""
    side = LARGE * image.width
    sheet = Image.new("L", (SHEET, SHEET), 255)
    large = image.resize((side, side), Image.Resampling.BICUBIC)
    sheet.paste(ImageOps.invert(large), PLACE)
    return sheet


SENT: dict[str, Callable[[Image.Image], Image.Image]] = {
    "light on dark": lambda image: image,
    "dark on light": ImageOps.invert,
    "large on a sheet": on_a_sheet,
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


def main() -> None:
    prepared = settings.prepared_folder(settings.load_params().data_name)
    with np.load(prepared / "test.npz") as arrays:
        images_NHW, labels_N = arrays["images"], arrays["labels"]
    folder = packaged_folder()
    model = read_json(folder / "lineage.json", stage="package")
    measured = measure(Predictor.open(folder), images_NHW, labels_N)
    content = {
        **heading("python bench/normalizer.py", model),
        **measured,
    }
    write_json(OUT, content)
    print(f"as they are {measured['accuracy_as_they_are']:.2%} of {measured['num_images']:,}")
    for way, row in measured["normalised"].items():
        print(f"{way:18}{row['accuracy']:.2%}, {row['lost_points']:+.2f} points lost")


if __name__ == "__main__":
    main()
