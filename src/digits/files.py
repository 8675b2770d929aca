"""Write files whole: beside their place first, then moved into it, so never half of one."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; move it into place unless the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path` to fill; it takes the old one's place unless one raises.

    A folder cannot be replaced in one step, so a crash between the two leaves none, and the old one
    aside, which `recover_folder` brings back: never half of one, never a mix of old and new.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(path)
    for stale in path.parent.glob(f".{path.name}.*.tmp"):  # of a process that was killed
        shutil.rmtree(stale)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    beside.mkdir()
    try:
        yield beside
        aside = path.with_name(f"{beside.name.removesuffix('.tmp')}.old")
        if path.exists():
            path.rename(aside)
        beside.rename(path)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Bring back a folder that was aside when the process that replaced it was killed."""
    for aside in sorted(path.parent.glob(f".{path.name}.*.old")):
        if path.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(path)


def read_json(path: Path, *, stage: str) -> dict[str, Any]:
    """Read what a stage of the pipeline wrote.

    Raises FileNotFoundError when it is missing, ValueError when it is damaged; each says which
    stage to run.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; run `dvc repro {stage}`") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); run `dvc repro -sf {stage}`") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold keys and values, got {content!r}")
    return content


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and for git: indented, one trailing newline."""
    with replacing(path) as beside:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")


def md5(path: Path) -> str:
    """A file's MD5, as DVC knows it by."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
