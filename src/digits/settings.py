"""What to run (params.yaml) and on which images (conf/data/NAME.yaml), read and checked once.

This module imports nothing heavy: every stage and the command line start with it.
"""

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

PARAMS = Path("params.yaml")
CONF = Path("conf")
FLAT = {"data_name", "data_fallback"}  # of `Params`: what stands under `data` in the file
FALLBACKS = ("optdigits", "none")
# Where torchvision's MNIST class looks for the four files of any data set, below its root.
IDX_PATHS = {
    "train_images": Path("MNIST/raw/train-images-idx3-ubyte"),
    "train_labels": Path("MNIST/raw/train-labels-idx1-ubyte"),
    "test_images": Path("MNIST/raw/t10k-images-idx3-ubyte"),
    "test_labels": Path("MNIST/raw/t10k-labels-idx1-ubyte"),
}


def raw_folder(name: str) -> Path:
    """Where a data set's fetched files are."""
    return Path("data") / name / "raw"


def prepared_folder(name: str) -> Path:
    """Where a data set's prepared arrays are."""
    return Path("data") / name / "prepared"


def synthetic_file(name: str) -> Path:
    """Where the images drawn for a data set are."""
    return Path("data") / name / "synthetic.npz"


def synthetic_shares(synthetic: dict[str, Any]) -> dict[str, float]:
    """How many drawn images of each kind a batch has for each training image; 0 if none are."""
    return {kind: synthetic[kind] if drawn else 0 for kind, drawn in synthetic["drawn"].items()}


class Mistaken(ValueError):
    """What a person asked for is not there or cannot be: one line, and exit status 2."""


def either(words: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


@dataclass(frozen=True, kw_only=True)
class IdxFile:
    """One IDX file of a data set: its name, uncompressed size and digest."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """How many images a program draws for a data set, to be learnt from beside it."""

    digits: int
    nondigits: int


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set of small square images in four IDX files, as conf/data/NAME.yaml describes it."""

    name: str
    licence: str
    classes: tuple[int | str, ...]  # label 0, 1, … in this order
    image_size: int
    num_train: int
    num_test: int
    files: dict[str, IdxFile]  # train_images, train_labels, test_images, test_labels
    mirrors: tuple[str, ...]  # folders or http(s) addresses; may name $ENVIRONMENT variables
    synthetic: Synthetic


@dataclass(frozen=True, kw_only=True)
class Gate:
    """When a model replaces the champion: how sure it must be, and how much each guard may lose."""

    significance: float  # p-value of the exact McNemar test, at most
    worst_class: float  # recall in [0, 1], and so are the next three
    ece: float
    mean_corrupted_accuracy: float
    wild_accuracy: float
    latency: float  # times the champion's, and so is the next
    size: float
    wild: str | None  # a folder of labelled images from outside the data set, where it is there


@dataclass(frozen=True, kw_only=True)
class Params:
    """params.yaml, checked."""

    data_name: str
    data_fallback: str
    val_size: float  # images, or below 1 a share of the training images
    seed: int
    candidates: tuple[str, ...]
    compare: tuple[str, ...]
    gate: Gate


def load_params(path: Path = PARAMS) -> Params:
    """Read params.yaml; Mistaken names the key, the value and the remedy."""
    raw = _read_yaml(path, "the pipeline's settings; run from the project's root")
    _expect_keys(path, raw, {field.name for field in fields(Params)} - FLAT | {"data"})
    _expect_keys(path, raw["data"], {"name", "fallback"}, prefix="data.")
    name, fallback = raw["data"]["name"], raw["data"]["fallback"]
    if not isinstance(name, str):
        raise Mistaken(f"{path}: data.name must be the name of a file in conf/data, got {name!r}")
    if fallback not in FALLBACKS:
        raise Mistaken(f"{path}: data.fallback must be one of {FALLBACKS}, got {fallback!r}")
    _expect_integer(path, "seed", raw["seed"], lowest=0)
    check_val_size(raw["val_size"], where=f"{path}: ")
    candidates, compare = raw["candidates"], raw["compare"]
    if not _is_list_of(str, candidates) or not candidates or len({*candidates}) != len(candidates):
        raise Mistaken(
            f"{path}: candidates must be a list of distinct names in conf/model/, "
            f"got {candidates!r}"
        )
    if not _is_list_of(str, compare) or not all(re.fullmatch(r"[\w-]+", name) for name in compare):
        raise Mistaken(f"{path}: compare must be a list of folders in models/, got {compare!r}")
    return Params(
        data_name=name,
        data_fallback=fallback,
        val_size=raw["val_size"],
        seed=raw["seed"],
        candidates=tuple(candidates),
        compare=tuple(compare),
        gate=_gate(path, raw["gate"]),
    )


def _gate(path: Path, raw: Any) -> Gate:
    _expect_keys(path, raw, {field.name for field in fields(Gate)}, prefix="gate.")
    for key, value in raw.items():
        lowest = 1 if key in ("latency", "size") else 0
        highest = 1 if key == "significance" else math.inf  # a probability
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if key == "wild":
            if value is not None and not isinstance(value, str):
                raise Mistaken(f"{path}: gate.wild must be a folder or null, got {value!r}")
        elif not is_number or not lowest <= value <= highest:
            wanted = "in 0..1" if highest == 1 else f">= {lowest}"
            raise Mistaken(f"{path}: gate.{key} must be a number {wanted}, got {value!r}")
    return Gate(**raw)


def check_val_size(value: Any, *, where: str = "") -> None:
    """Raise ValueError for a size of the validation split that is no number of images or share."""
    is_share = isinstance(value, float) and 0 < value < 1
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not is_share and not is_count:
        raise Mistaken(
            f"{where}val_size must be a number of images, or a share between 0 and 1 of the "
            f"training images; got {value!r}"
        )


def expect_model(name: str, *, conf: Path = CONF) -> None:
    """Raise Mistaken for a model that has no file in conf/model/, with the nearest that has one."""
    known = sorted(file.stem for file in (conf / "model").glob("*.yaml"))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or known
        raise Mistaken(f"{name!r} is no model of {conf / 'model'}; there is {either(near)}")


def load_dataset(name: str, *, conf: Path = CONF) -> Dataset:
    """Read conf/data/NAME.yaml; Mistaken names the key, the value and the remedy.

    An unknown name is answered with the nearest known one.
    """
    path = conf / "data" / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in (conf / "data").glob("*.yaml"))
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise Mistaken(f"data.name {name!r} is not in {path.parent} ({', '.join(known)}){hint}")
    raw = _read_yaml(path, "a data set")
    _expect_keys(path, raw, {field.name for field in fields(Dataset)})
    roles = {"train_images", "train_labels", "test_images", "test_labels"}
    _expect_keys(path, raw["files"], roles, prefix="files.")
    for key, lowest in (("image_size", 8), ("num_train", 1), ("num_test", 1)):
        _expect_integer(path, key, raw[key], lowest=lowest)
    classes = raw["classes"]
    if not _is_list_of(int | str, classes) or len(classes) < 2 or len({*classes}) != len(classes):
        raise Mistaken(
            f"{path}: classes must be a list of at least two distinct numbers or names, got "
            f"{classes!r}; write words such as yes and no in quotes"
        )
    if not _is_list_of(str, raw["mirrors"]):
        raise Mistaken(
            f"{path}: mirrors must be a list of folders and addresses, got {raw['mirrors']!r}"
        )
    files = {}
    for role, entry in raw["files"].items():
        prefix = f"files.{role}."
        _expect_keys(path, entry, {field.name for field in fields(IdxFile)}, prefix=prefix)
        _expect_integer(path, f"{prefix}size_bytes", entry["size_bytes"], lowest=1)
        if not re.fullmatch("[0-9a-f]{64}", str(entry["sha256"])):
            raise Mistaken(
                f"{path}: {prefix}sha256 must be the 64 hexadecimal digits that `sha256sum` "
                f"prints, got {entry['sha256']!r}"
            )
        files[role] = IdxFile(**entry)
    _expect_keys(
        path, raw["synthetic"], {field.name for field in fields(Synthetic)}, prefix="synthetic."
    )
    for key, value in raw["synthetic"].items():
        _expect_integer(path, f"synthetic.{key}", value, lowest=0)
    if raw["synthetic"]["digits"] and not {*range(10)} <= {*classes}:
        raise Mistaken(f"{path}: synthetic.digits must be 0, because classes has not all of 0 to 9")
    synthetic = Synthetic(**raw["synthetic"])
    lists = {"classes": tuple(raw["classes"]), "mirrors": tuple(raw["mirrors"])}
    return Dataset(**{**raw, **lists, "files": files, "synthetic": synthetic})


def _read_yaml(path: Path, what: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: it holds {what}") from None
    except yaml.YAMLError as error:
        raise Mistaken(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise Mistaken(f"{path} must hold keys and values, got {content!r}")
    return content


def _is_list_of(kind: Any, value: Any) -> bool:
    # YAML's bare yes and no are booleans, which Python counts as integers.
    return isinstance(value, list) and all(
        isinstance(item, kind) and not isinstance(item, bool) for item in value
    )


def _expect_integer(path: Path, key: str, value: Any, *, lowest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise Mistaken(f"{path}: {key} must be an integer >= {lowest}, got {value!r}")


def _expect_keys(path: Path, raw: Any, expected: set[str], prefix: str = "") -> None:
    if not isinstance(raw, dict):
        raise Mistaken(f"{path}: {prefix.rstrip('.')} must hold keys and values, got {raw!r}")
    # The unknown first: a key that is misspelt is missing too.
    for key in sorted(map(str, raw.keys() - expected)):
        near = difflib.get_close_matches(key, expected, n=1)
        meant = [f"did you mean {prefix}{near[0]}?"] if near else []
        listed = [f"it has {', '.join(prefix + each for each in sorted(expected))}"]
        raise Mistaken(f"{path}: {prefix}{key} is unknown; {(meant or listed)[0]}")
    for key in sorted(expected - raw.keys()):
        raise Mistaken(f"{path}: {prefix}{key} is missing")
