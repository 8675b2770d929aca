"""Where the packaged model is, and whether it is whole."""

import hashlib
import json
from pathlib import Path
from typing import Any

SERVED = Path("served")  # BentoML makes the project, or the Bento's copy of it, the current folder
RELEASED = Path("released")  # kept in git by `make release`, for who has not trained yet
BUNDLE_FILES = ("model.onnx", "model.json")  # of a bundle, all that reading needs


def packaged_folder() -> Path:
    """What the pipeline packaged here, or else what was released; `served` where neither is."""
    made = (SERVED / "lineage.json").exists() or not (RELEASED / "lineage.json").exists()
    return SERVED if made else RELEASED


def content_tag(folder: Path, lineage: dict[str, Any]) -> str:
    """The tag that belongs to this content: the same bytes and lineage have the same tag."""
    digest = hashlib.sha256()
    for name in BUNDLE_FILES:
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    untagged = {key: value for key, value in lineage.items() if key != "tag"}
    digest.update(json.dumps(untagged, sort_keys=True).encode())
    return f"digits:{digest.hexdigest()[:16]}"


def expect_whole(folder: Path, lineage: dict[str, Any]) -> None:
    """Raise ValueError where the files are not those that were packaged."""
    if content_tag(folder, lineage) != lineage["tag"]:
        raise ValueError(
            f"{folder} does not match its own digest {lineage['tag']}; run `{remedy(folder)}`"
        )


def remedy(folder: Path) -> str:
    """The command that makes the packaged folder anew."""
    return "git checkout released" if folder == RELEASED else "dvc repro -sf package"
