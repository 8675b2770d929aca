"""Where the packaged model is: this checkout's own, or the one that comes with the project."""

from pathlib import Path

SERVED = Path("served")  # BentoML makes the project, or the Bento's copy of it, the current folder
RELEASED = Path("released")  # kept in git by `make release`, for who has not trained yet


def packaged_folder() -> Path:
    """What the pipeline packaged here, or else what was released; `served` where neither is."""
    made = (SERVED / "lineage.json").exists() or not (RELEASED / "lineage.json").exists()
    return SERVED if made else RELEASED
