"""Draw the images that a model may learn from beside the data set: handwriting, and non-digits.

    python -m digits.synthesize --data mnist --report reports

Reads conf/data/NAME.yaml. Writes data/NAME/synthetic.npz, frames made by the same normaliser that
reads what people send, and reports/synthetic.png, a sheet of them. The same settings give the same
bytes, whatever the number of processes.

N images, H/W pixels.
"""

import argparse
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from digits import settings, stopping
from digits.arrays import write_arrays
from digits.files import replacing
from digits.handwriting.nondigits import draw_nondigit
from digits.handwriting.pen import HEIGHT, draw_digit
from digits.reading.normalize import normalize

U8 = NDArray[np.uint8]
# What is drawn is a data set, the same for every training: this is not the training's seed.
SEED = 0
AT_ONCE = 500  # images that a process draws with one generator
SHEET = (6, 20)  # rows and columns shown of each kind
FAR = 0.25  # share of the images that are taken from afar: so few pixels that strokes run together
FAR_HEIGHTS = (8.0, 24.0)  # px of what is drawn on them


def run(*, dataset: settings.Dataset, out: Path, report: Path) -> dict[str, U8]:
    """Draw and write the arrays `images` (N, H, W), their `labels` (N) and `nondigits` (N, H, W).

    A label is an index into the data set's classes. The last tenth of each is kept from training,
    as `heldout_images` and so on, to see what a model makes of it.
    """
    wanted, size = dataset.synthetic, dataset.image_size
    digits_N = np.arange(wanted.digits) % 10
    drawn = {
        "images": _in_processes(_digits, wanted.digits, size),
        "labels": np.array([dataset.classes.index(int(digit)) for digit in digits_N], np.uint8),
        "nondigits": _in_processes(_nondigits, wanted.nondigits, size),
    }
    arrays = {}
    for name, array in drawn.items():
        arrays[name], arrays[f"heldout_{name}"] = np.split(array, [len(array) * 9 // 10])
    write_arrays(out, **arrays)
    sheet_HW = np.vstack([_sheet(arrays["images"], size), _sheet(arrays["nondigits"], size)])
    with replacing(report / "synthetic.png") as beside:
        Image.fromarray(255 - sheet_HW).save(beside, format="PNG")
    return arrays


def _in_processes(draw: Callable[[int, int, int], U8], num: int, size: int) -> U8:
    """`num` frames, drawn some at a time by as many processes as there are cores."""
    starts = range(0, num, AT_ONCE)
    if not starts:
        return np.zeros((0, size, size), np.uint8)
    stops = [min(start + AT_ONCE, num) for start in starts]
    with ProcessPoolExecutor(
        min(os.cpu_count() or 1, len(starts)), initializer=_leave_ctrl_c_to_the_parent
    ) as pool:
        return np.concatenate(list(pool.map(draw, starts, stops, [size] * len(starts))))


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _digits(start: int, stop: int, size: int) -> U8:
    """Frames of the digits 0, 1, …, 9, 0, … from one place in that row to another."""
    rng = np.random.default_rng((SEED, 0, start))
    drawn = [_near_or_far(draw_digit(i % 10, rng), rng) for i in range(start, stop)]
    return np.stack([normalize(image, size=size) for image in drawn])


def _nondigits(start: int, stop: int, size: int) -> U8:
    rng = np.random.default_rng((SEED, 1, start))
    drawn = [_near_or_far(draw_nondigit(rng), rng) for _ in range(start, stop)]
    return np.stack([normalize(image, size=size) for image in drawn])


def _near_or_far(image: Image.Image, rng: Generator) -> Image.Image:
    """The image as it is, or with the few pixels that a small digit has in a picture."""
    if rng.random() >= FAR:
        return image
    shrink = rng.uniform(*FAR_HEIGHTS) / HEIGHT
    return image.resize([max(1, round(side * shrink)) for side in image.size], Resampling.BOX)


def _sheet(frames_NHW: U8, size: int) -> U8:
    """The first frames in rows and columns, black where there are too few."""
    rows, columns = SHEET
    shown = np.zeros((rows * columns, size, size), np.uint8)
    shown[: len(frames_NHW)] = frames_NHW[: rows * columns]
    sheet_HW: U8 = shown.reshape(rows, columns, size, size).transpose(0, 2, 1, 3)
    return sheet_HW.reshape(rows * size, columns * size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", help="a file in conf/data/; without it, data.name of params.yaml")
    parser.add_argument("--report", type=Path, help="without it, the data set's folder")
    arguments = parser.parse_args()
    with stopping.explained("synthesize"):
        dataset = settings.load_dataset(arguments.data or settings.load_params().data_name)
        out = settings.synthetic_file(dataset.name)
        arrays = run(dataset=dataset, out=out, report=arguments.report or out.parent)
    digits, others = (
        len(arrays[name]) + len(arrays[f"heldout_{name}"]) for name in ("images", "nondigits")
    )
    print(f"{dataset.name}: {digits:,} digits and {others:,} non-digits drawn")


if __name__ == "__main__":
    main()
