"""What a person names on the command line, as images: files, folders, patterns, standard input."""

import glob
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

STDIN = Path("-")
# Of the formats that the normaliser opens.
SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".mpo")
)
MANY = 20  # files from which a bar tells how far it is


def expand(names: Iterable[str]) -> tuple[list[Path], list[str]]:
    """The files to read, in the order they are named, and what is wrong with the other names.

    A folder stands for the images below it and a pattern for what it matches, both sorted. A file
    that is named itself is taken whatever it is called: opening it says what is wrong.
    """
    files: list[Path] = []
    complaints: list[str] = []
    for name in names:
        path, shown = Path(name), click.format_filename(name)
        if not name:
            complaints.append("'': no file has an empty name")
        elif re.match(r"[a-z][a-z0-9+.-]*://", name, re.IGNORECASE) and not path.exists():
            complaints.append(f"{shown}: an address; download the image first, nothing is fetched")
        elif name == "-" and STDIN in files:
            complaints.append("-: named twice; the standard input is read once")
        elif name == "-":
            files.append(STDIN)
        elif path.is_dir():
            images = _below(path)
            if not images:
                complaints.append(f"{shown}: no image is in this folder or below it")
            files += images
        elif glob.has_magic(name) and not path.exists():
            # pathlib takes no absolute pattern.
            matches = sorted(map(Path, glob.glob(name, recursive=True)))  # noqa: PTH207
            if not matches:
                complaints.append(f"{shown}: no file matches")
            known: dict[Path, Path] = {}  # `**` follows links, and may come by a file again
            for match in matches:
                for file in _below(match) if match.is_dir() else [match]:
                    known.setdefault(file.resolve(), file)
            files += known.values()
        else:
            files.append(path)
    return files, complaints


def read(file: Path) -> bytes:
    """The bytes of a file, or of the standard input for `-`."""
    return sys.stdin.buffer.read() if file == STDIN else file.read_bytes()


def progress(files: Sequence[Path]) -> Iterator[Path]:
    """The files one by one, with a bar on the terminal where there are many of them.

    On standard error; where the answers go to the same terminal they scroll by above it.
    """
    with Progress(
        TextColumn("reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        disable=len(files) < MANY or not sys.stderr.isatty(),
    ) as bar:
        yield from bar.track(files)


def _below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if _is_image(file))


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and file.is_file()
