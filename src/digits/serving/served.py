"""The served folder: what `package` makes, DVC tracks, and the service answers with.

`model.onnx` and `model.json` (the bundle without its weights), `lineage.json` (where the model
comes from, its test metrics, and its tag in BentoML's model store), `details.json` (more of those
metrics, for the model card), `samples.json` (test images for the page to try), `requirements.txt`,
and in `others/NAME/` the models to compare it with. Inside a Bento the model is missing: it is in
the store, under the tag that `lineage.json` names.
"""

import atexit
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import bentoml
from bentoml.exceptions import BentoMLException, NotFound

from ..reading.packaged import (
    BUNDLE_FILES,
    RELEASED,
    expect_whole,
    packaged_folder,
    remedy,
)
from ..reading.predictor import Predictor
from .models import Model

PINNED = "DIGITS_PINNED"  # in the environment: a process, and the copy it answers from


def pin() -> None:
    """Let all workers of a service answer with what is packaged as it starts.

    A worker that is started later, in place of one that died, would answer with what is packaged by
    then. So the first process copies the folder and leaves word for its children, until it ends.
    Beside the copy the workers' counts meet.
    """
    source = packaged_folder()
    if _pinned() is None and source.is_dir():
        stored_tag(source)  # says what is wrong with it, by its own name
        copy = Path(tempfile.mkdtemp(prefix="digits-"))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        shutil.copytree(source, copy / source.name)
        (copy / "metrics").mkdir()
        os.environ[PINNED] = f"{os.getpid()} {copy / source.name}"
    if (folder := _pinned()) is not None:
        # BentoML has one folder for all services of a person, and empties it as each starts.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder.parent / "metrics")


def _pinned() -> Path | None:
    """The copy that this process or its parent made; None where neither did."""
    number, _, path = os.environ.get(PINNED, "").partition(" ")
    ours = number in (str(os.getpid()), str(os.getppid()))
    return Path(path) if ours else None


def _answering() -> Path:
    return _pinned() or packaged_folder()


def read_lineage(folder: Path | None = None) -> dict[str, Any]:
    """Read `lineage.json`; BentoMLException, which `bentoml` prints as one line, when missing."""
    folder = folder or _answering()
    try:
        lineage: dict[str, Any] = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
        lineage["tag"]
    except FileNotFoundError:
        raise BentoMLException(
            f"nothing is packaged yet ({folder / 'lineage.json'} is missing); run `make repro`"
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise BentoMLException(
            f"{folder / 'lineage.json'} is damaged ({error!r}); run `{remedy(folder)}`"
        ) from None
    return lineage


def read_samples(folder: Path | None = None) -> list[dict[str, Any]]:
    """Test images for the page; none where there are none that can be read."""
    folder = folder or _answering()
    try:
        content = json.loads((folder / "samples.json").read_text("utf-8"))
        samples: list[dict[str, Any]] = content["samples"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return samples


def read_others(folder: Path | None = None) -> dict[str, Model]:
    """The models packaged beside the selected one, by name; without what is damaged.

    The log says so then: who only wants to compare keeps nobody from an answer.
    """
    folder = folder or _answering()
    found = {}
    for path in sorted(file.parent for file in (folder / "others").glob("*/lineage.json")):
        try:
            lineage = read_lineage(path)
            expect_whole(path, lineage)
            model = Model(Predictor.open(path), {**lineage, "released": is_released()})
            if model.identity["name"] != path.name:
                raise ValueError(f"it is {model.identity['name']}")
            found[path.name] = model
        except (BentoMLException, OSError, ValueError, KeyError) as error:
            logging.getLogger("bentoml.service").warning(
                "%s is left out: %s; run `%s`", path, error, remedy(Path(folder.name))
            )
    return found


def stored_tag(folder: Path | None = None) -> str:
    """The tag of the served model, which is put into BentoML's model store where it is not there.

    The exact tag and never `latest`, because checkouts on one machine share the store. DVC can
    bring the served folder back without running `package`, so the store may have to catch up.
    """
    folder = folder or _answering()
    lineage = read_lineage(folder)
    tag: str = lineage["tag"]
    if not (folder / "model.onnx").is_file() or _is_stored(tag):
        return tag
    try:
        expect_whole(folder, lineage)
    except ValueError as error:
        raise BentoMLException(str(error)) from None
    try:
        with bentoml.models.create(tag, metadata=_known(lineage)) as model:
            for name in BUNDLE_FILES:
                shutil.copyfile(folder / name, model.path_of(name))
    except BentoMLException:
        # Another process may have stored the same content in the meantime.
        if not _is_stored(tag):
            raise
    return tag


def _known(content: dict[str, Any]) -> dict[str, Any]:
    """Without what is None, such as the commit of what no git tracks: BentoML refuses that."""
    return {
        key: _known(value) if isinstance(value, dict) else value
        for key, value in content.items()
        if value is not None
    }


def is_released() -> bool:
    """Whether the model that answers came with the project, and was not made here."""
    return _answering().name == RELEASED.name


def _is_stored(tag: str) -> bool:
    try:
        bentoml.models.get(tag)
    except NotFound:
        return False
    return True
