"""Check the fetched images, hold out a validation split, and report what is there.

    python -m digits.prepare --data mnist --report reports

Reads data/NAME/raw/ (four IDX files and source.json), params.yaml (val_size, seed) and the counts
of images in conf/data/NAME.yaml. Writes data/NAME/prepared/: train.npz (training and validation
images), test.npz (to score and compare what is trained) and data.json (what a training needs to
know of them); and the data report, reports/data.json and reports/data.png. A violated expectation
fails the stage and is named.

N images, H/W pixels.
"""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits import settings, stopping
from digits.arrays import write_arrays
from digits.expectations import (
    MAX_DUPLICATE_SHARE,
    Split,
    check,
    check_headers,
    count_duplicates,
    expect,
)
from digits.files import read_json, replacing, replacing_folder, write_json

U8 = NDArray[np.uint8]
NUM_SHOWN = 12  # images of each class in the picture of the data
FEW = 100  # validation images: one of them is a point of accuracy
TOO_FEW = (
    "warning: {} validation images are few to choose a model by, and to learn from which answers "
    "not to accept; raise val_size, or collect more pictures"
)


def run(
    *,
    raw: Path,
    out: Path,
    report: Path,
    num_train: int,
    num_test: int,
    val_size: float,
    seed: int,
) -> dict[str, Any]:
    """Prepare and return the data report; when it raises, what was prepared before is untouched.

    The data set has `num_train` images to learn from, `val_size` of them (or that share, if it is
    below 1) to hold out, and `num_test` to report. Of a stand-in, which has fewer, the same share
    is held out.
    Raises ExpectationFailed for images that are not as expected, FileNotFoundError when nothing
    was fetched, ValueError for a val_size that cannot be held out.
    """
    source = read_json(raw / "source.json", stage="fetch")
    if source["fallback"]:
        # A stand-in must not look settled to DVC: with this file gone, the next `dvc repro`
        # tries the mirrors again, whether this succeeds or not.
        (raw / "source.json").unlink()
    # Torch takes seconds to load: what can be answered without it was.
    from digits.learning.images import read_raw, sheet
    from digits.reporting import figures

    splits = {}
    for name, expected in (("train", num_train), ("test", num_test)):
        check_headers(raw, prefix=name)
        images_NHW, labels_N = read_raw(raw, train=name == "train")
        splits[name] = Split(images=images_NHW, labels=labels_N)
        check(splits[name], where=name, image_size=source["image_size"], classes=source["classes"])
        found = len(splits[name])
        expect(source["fallback"] or found == expected, f"{expected} {name} images, found {found}")
    share = val_size if val_size < 1 else val_size / num_train
    if share == val_size or source["fallback"]:
        val_size = max(1, round(share * len(splits["train"])))
    duplicates = count_duplicates(splits["train"].images, splits["test"].images)
    for where, number in duplicates.items():
        allowed = MAX_DUPLICATE_SHARE * len(splits["test" if "test" in where else "train"])
        expect(
            number <= allowed,
            f"at most {allowed:.0f} exact duplicates {where}, found {number}; leave the copies out",
        )
    train, val = hold_out(splits["train"], val_size=int(val_size), seed=seed)
    test = splits["test"]

    facts = {
        "name": source["name"],
        "requested": source["requested"],
        "fallback": source["fallback"],
        "licence": source["licence"],
        "digest": f"sha256:{_digest(train, val, test)}",
        "classes": source["classes"],
        "image_size": source["image_size"],
        "num_train": len(train),
        "num_val": len(val),
        "num_test": len(test),
        # Of the training images alone, in [0, 1]. Six digits are what float32 keeps.
        "mean": round(float(train.images.mean() / 255), 6),
        "std": round(float(train.images.std() / 255), 6),
    }
    counts = {
        name: np.bincount(split.labels, minlength=len(source["classes"])).tolist()
        for name, split in (("train", train), ("validation", val), ("test", test))
    }
    content = {
        **facts,
        "files": source["sha256"],
        "images_per_class": counts,
        "exact_duplicates": duplicates,
    }
    samples = _samples_per_class(train, num_classes=len(source["classes"]))
    title = f"{source['name']}: {len(train):,} training images, {source['image_size']} px"
    figure = figures.data_report(
        sheet(samples, columns=NUM_SHOWN), counts, source["classes"], title=title
    )
    with replacing_folder(out) as folder:
        write_arrays(
            folder / "train.npz",
            train_images=train.images,
            train_labels=train.labels,
            val_images=val.images,
            val_labels=val.labels,
        )
        write_arrays(folder / "test.npz", images=test.images, labels=test.labels)
        write_json(folder / "data.json", facts)
    with replacing(report / "data.png") as beside:
        figure.savefig(beside, format="png", dpi=110, metadata={"Software": None})
    write_json(report / "data.json", content)
    return content


def hold_out(split: Split, *, val_size: int, seed: int) -> tuple[Split, Split]:
    """Training and validation split, stratified by class, each in the original order."""
    from sklearn.model_selection import train_test_split

    numbers = np.bincount(split.labels)
    num_classes = np.count_nonzero(numbers)
    expect(
        1 not in numbers,
        "at least two training images of a class, one to learn from and one to hold out, "
        f"found one of class number {int((numbers == 1).argmax())}",
    )
    if not num_classes <= val_size <= len(split) - num_classes:
        raise ValueError(
            f"val_size must be in {num_classes}..{len(split) - num_classes} for "
            f"{len(split)} images of {num_classes} classes, got {val_size!r}; set it in "
            "params.yaml or by --val-size, also as a share such as 0.1"
        )
    indices = train_test_split(
        np.arange(len(split)), test_size=val_size, stratify=split.labels, random_state=seed
    )
    train, val = (
        Split(images=split.images[index], labels=split.labels[index])
        for index in map(np.sort, indices)
    )
    return train, val


def _samples_per_class(split: Split, *, num_classes: int) -> U8:
    """The first images of each class, class by class; black where a class has too few."""
    samples = np.zeros((num_classes, NUM_SHOWN, *split.images.shape[1:]), np.uint8)
    for label in range(num_classes):
        chosen = split.images[split.labels == label][:NUM_SHOWN]
        samples[label, : len(chosen)] = chosen
    return samples.reshape(-1, *split.images.shape[1:])


def _digest(*splits: Split) -> str:
    digest = hashlib.sha256()
    for split in splits:
        digest.update(split.images.tobytes())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()


def _number(text: str) -> float:
    try:
        value = float(text) if "." in text else int(text)
        settings.check_val_size(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", help="a file in conf/data/; without it, data.name of params.yaml")
    parser.add_argument("--val-size", type=_number, help="instead of val_size of params.yaml")
    parser.add_argument("--report", type=Path, help="without it, the folder of the prepared arrays")
    arguments = parser.parse_args()
    with stopping.explained("prepare"):
        params = settings.load_params()
        dataset = settings.load_dataset(arguments.data or params.data_name)
        out = settings.prepared_folder(dataset.name)
        content = run(
            raw=settings.raw_folder(dataset.name),
            out=out,
            report=arguments.report or out.parent,
            num_train=dataset.num_train,
            num_test=dataset.num_test,
            val_size=params.val_size if arguments.val_size is None else arguments.val_size,
            seed=params.seed,
        )
    if content["num_val"] < FEW:
        print(TOO_FEW.format(content["num_val"]), file=sys.stderr)
    print(
        f"{content['name']}: {content['num_train']:,} images to train on, {content['num_val']:,} "
        f"to validate, {content['num_test']:,} to report; exact duplicates "
        + ", ".join(f"{number} {where}" for where, number in content["exact_duplicates"].items())
    )


if __name__ == "__main__":
    main()
