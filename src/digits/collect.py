"""Make a data set of folders of pictures: a folder for each class, named by it.

    python -m digits.collect pictures --name mine

Brings every picture into the frame MNIST was made in, holds some out to report on, and writes what
the pipeline takes: four IDX files in the folder NAME, and their description, conf/data/NAME.yaml.

Shapes: N images, H/W pixels.
"""

import argparse
import hashlib
import os
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from digits import inputs, settings, stopping
from digits.files import replacing, replacing_folder
from digits.optdigits import idx
from digits.reading.normalize import NDArrayU8, UnreadableImage, read_frame

Sorted = list[tuple[Path, int]]  # pictures and the number of their class
TEST_SHARE = 0.2
SPLIT_SEED = 0  # the same pictures are held out each time
SMALLEST = 8  # pixels of a frame's side
DRAWN = 12_000  # digits that a program draws to learn from as well, and as many other signs


def run(pictures: Path, *, name: str, size: int, test: Path | None, licence: str) -> list[str]:
    """Write NAME/ and conf/data/NAME.yaml; return a sentence for each picture that is left out.

    Of each class a fifth is held out, unless the folder `test` has the pictures to report on: put
    all of one writer's on one side where you know who wrote them.
    Raises ValueError for folders that are no data set, and where there is one of that name.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"--name must be letters, digits, _ and -, got {name!r}")
    if size < SMALLEST:
        raise ValueError(f"--size must be at least {SMALLEST} pixels, got {size}")
    described = settings.CONF / "data" / f"{name}.yaml"
    if there := [str(path) for path in (described, Path(name)) if path.exists()]:
        are, them = ("is", "it") if len(there) == 1 else ("are", "them")
        raise ValueError(
            f"{' and '.join(there)} {are} there already; remove {them}, or choose another --name"
        )
    classes = _classes(pictures)
    if test is not None and _classes(test) != classes:
        raise ValueError(
            f"{test} must have the folders of {pictures}, {', '.join(classes)}; it has "
            f"{', '.join(_classes(test))}"
        )
    found = _sorted(pictures, classes)
    parts = {"train": found, "test": _sorted(test, classes)} if test else hold_out(found)
    complaints: list[str] = []
    arrays: dict[str, NDArrayU8] = {}
    seen: dict[bytes, Path] = {}
    for split, part in parts.items():
        frames_NHW, labels_N, wrong = _frames(part, size=size, seen=seen)
        complaints += wrong
        missing = [classes[k] for k in range(len(classes)) if k not in labels_N]
        if missing:
            where = (test if split == "test" and test else pictures) / missing[0]
            why = [one for one in wrong if one.startswith(f"{where}{os.sep}")]
            raise ValueError(
                f"there is no {split} picture of class {missing[0]} that can be read"
                f"{f' ({why[0]})' if why else ''}; put more into {where}"
            )
        arrays |= {f"{split}_images": frames_NHW, f"{split}_labels": labels_N}
    contents = {role: idx(array) for role, array in arrays.items()}
    description = _description(
        name, classes, size=size, licence=licence, contents=contents, arrays=arrays
    )
    with replacing_folder(Path(name)) as folder:
        for role, content in contents.items():
            (folder / role).write_bytes(content)
    with replacing(described) as beside:
        head = f"# Pictures of our own in frames of {size}x{size} pixels, by digits.collect.\n"
        beside.write_text(head + description, encoding="utf-8")
    return complaints


def hold_out(found: Sorted) -> dict[str, Sorted]:
    """Of each class a fifth for the test split, at least one; the rest to learn from."""
    parts: dict[str, Sorted] = {"train": [], "test": []}
    for number in sorted({number for _, number in found}):
        those = [entry for entry in found if entry[1] == number]
        random.Random(SPLIT_SEED).shuffle(those)
        num_test = max(1, round(TEST_SHARE * len(those)))
        parts["test"] += those[:num_test]
        parts["train"] += those[num_test:]
    return parts


def _classes(pictures: Path) -> list[str]:
    """The names of the folders, numbers in their order."""
    if not pictures.is_dir():
        raise ValueError(f"{pictures} is no folder; give one with a folder of pictures a class")
    names = [path.name for path in pictures.iterdir() if path.is_dir() and path.name[0] != "."]
    if len(names) < 2:
        raise ValueError(
            f"{pictures} must have at least two folders, one for each class, with its pictures; "
            f"it has {len(names)}"
        )
    return sorted(names, key=lambda name: (0, int(name), "") if _is_number(name) else (1, 0, name))


def _is_number(name: str) -> bool:
    return name.isdecimal() and str(int(name)) == name


def _sorted(pictures: Path, classes: list[str]) -> Sorted:
    return [
        (path, number)
        for number, name in enumerate(classes)
        for path in inputs.expand([str(pictures / name)])[0]
    ]


def _frames(
    part: Sorted, *, size: int, seen: dict[bytes, Path]
) -> tuple[NDArrayU8, NDArrayU8, list[str]]:
    """Frames (N, H, W), labels (N), and what is wrong with the pictures that are left out.

    `seen` has the frames there were before, which are not wanted twice, and those of now.
    """
    frames, labels, complaints = [], [], []
    for path, number in part:
        try:
            frame_HW = read_frame(path.read_bytes(), size=size)
        except UnreadableImage as error:
            complaints.append(f"{path}: {error}")
            continue
        if not frame_HW.any():
            complaints.append(f"{path}: no ink was found")
            continue
        first = seen.setdefault(frame_HW.tobytes(), path)
        if first != path:
            complaints.append(f"{path}: the same picture as {first}")
            continue
        frames.append(frame_HW)
        labels.append(number)
    shape = (len(frames), size, size)
    return np.array(frames, np.uint8).reshape(shape), np.array(labels, np.uint8), complaints


def _description(
    name: str,
    classes: list[str],
    *,
    size: int,
    licence: str,
    contents: dict[str, bytes],
    arrays: dict[str, NDArrayU8],
) -> str:
    """conf/data/NAME.yaml."""
    are_numbers = all(_is_number(one) for one in classes)
    drawn = DRAWN if classes == [str(digit) for digit in range(10)] else 0
    content: dict[str, Any] = {
        "name": name,
        "licence": licence,
        "classes": [int(one) for one in classes] if are_numbers else classes,
        "image_size": size,
        "num_train": len(arrays["train_labels"]),
        "num_test": len(arrays["test_labels"]),
        "files": {
            role: {
                "name": role,
                "size_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for role, content in contents.items()
        },
        "mirrors": [name],
        "synthetic": {"digits": drawn, "nondigits": drawn},
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m digits.collect", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("pictures", type=Path, help="a folder with a folder of pictures a class")
    parser.add_argument("--name", required=True, help="of the data set: letters, digits, _ and -")
    parser.add_argument("--test", type=Path, help="another such folder, to report on")
    parser.add_argument("--size", type=int, default=28, help="pixels of a frame's side")
    parser.add_argument("--licence", default="not stated", help="of the pictures")
    chosen = parser.parse_args()
    with stopping.explained("collect"):
        complaints = run(
            chosen.pictures,
            name=chosen.name,
            size=chosen.size,
            test=chosen.test,
            licence=chosen.licence,
        )
    for complaint in complaints:
        print(f"left out: {complaint}", file=sys.stderr)
    dataset = settings.load_dataset(chosen.name)
    print(
        f"{chosen.name}: {dataset.num_train:,} pictures to learn from, {dataset.num_test:,} to "
        f"report on, of {len(dataset.classes)} classes; {chosen.name}/ has them, "
        f"conf/data/{chosen.name}.yaml describes them"
    )
    print(
        f"  in params.yaml set data.name to {chosen.name}, data.fallback to none and val_size to "
        "a share such as 0.1; then `make repro`"
    )


if __name__ == "__main__":
    main()
