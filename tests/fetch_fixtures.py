"""A tiny data set, its mirrors, and what fetch makes of them."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from digits.fetch import SourceReport, run
from digits.mirrors import Patience
from digits.optdigits import idx
from digits.settings import Dataset, IdxFile, Synthetic
from mirror_server import MirrorServer, serving

NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
FIRST = NAMES["train_images"]  # the first file that any mirror is asked for
# Long enough for a busy machine, short enough for a test that waits it out.
HURRY = Patience(connect_s=5, stall_s=0.4, total_s=20, attempts=3, backoff_s=0)
UNREACHABLE = "http://127.0.0.1:9"  # the discard port: nobody listens there


def tiny_contents() -> dict[str, bytes]:
    """Four IDX files by role: noise, as fetch does not look inside."""
    rng = np.random.default_rng(0)
    contents = {}
    for part, num in (("train", 40), ("test", 20)):
        contents[f"{part}_images"] = idx(rng.integers(0, 256, (num, 28, 28), dtype=np.uint8))
        contents[f"{part}_labels"] = idx((np.arange(num) % 10).astype(np.uint8))
    return contents


CONTENTS = tiny_contents()
GOOD = CONTENTS["train_images"]


def tiny_dataset(*mirrors: str) -> Dataset:
    return Dataset(
        name="tiny",
        licence="none",
        classes=tuple(range(10)),
        image_size=28,
        num_train=40,
        num_test=20,
        files={
            role: IdxFile(
                name=NAMES[role],
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
            for role, content in CONTENTS.items()
        },
        mirrors=mirrors,
        synthetic=Synthetic(digits=0, nondigits=0),
    )


def fill(folder: Path, *, gz: bool = True) -> Path:
    """A mirror in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for role, content in CONTENTS.items():
        name = f"{NAMES[role]}.gz" if gz else NAMES[role]
        (folder / name).write_bytes(gzip.compress(content) if gz else content)
    return folder


def serve(server: MirrorServer, *, under: str = "good", gz: bool = True) -> str:
    """All four files on the web server; gives the mirror's address."""
    for role, content in CONTENTS.items():
        path = f"{under}/{NAMES[role]}" + (".gz" if gz else "")
        server.answers[path] = gzip.compress(content) if gz else content
    return f"{server.address}/{under}"


def fetch(out: Path, *mirrors: str, fallback: str = "none", **more: object) -> SourceReport:
    return run(
        dataset=tiny_dataset(*mirrors),
        fallback=fallback,
        out=out,
        patience=HURRY,
        **more,  # type: ignore[arg-type]
    )


def raw(out: Path) -> dict[str, bytes]:
    """Every file in the folder of the four, by name: nothing else may be there."""
    return {path.name: path.read_bytes() for path in (out / "MNIST" / "raw").iterdir()}


def source(out: Path) -> dict[str, object]:
    content = json.loads((out / "source.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def everything(out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file: equal when nothing was touched."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


RIGHT = {NAMES[role]: content for role, content in CONTENTS.items()}


@pytest.fixture
def server() -> Iterator[MirrorServer]:
    with serving() as mirror:
        yield mirror


@pytest.fixture
def no_mirror_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("MNIST_MIRROR", raising=False)
    caplog.set_level("INFO", logger="digits.fetch")


def parsed(content: bytes) -> np.ndarray:
    ndim = content[3]
    shape = np.frombuffer(content, ">u4", count=ndim, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * ndim).reshape(shape)
