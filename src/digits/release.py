"""Keep the packaged model in git, for clones that have made none yet: `make release`.

Copies of served/ what answers and what is said of it to released/, whole or not at all.
"""

import shutil
from pathlib import Path
from typing import Any

from digits import stopping
from digits.files import read_json, replacing_folder
from digits.reading.packaged import BUNDLE_FILES, RELEASED, SERVED, expect_whole

KEPT = (*BUNDLE_FILES, "lineage.json", "samples.json", "details.json")


def run(*, served: Path = SERVED, released: Path = RELEASED) -> dict[str, Any]:
    """Copy, and return the model's lineage; ValueError for a damaged one or one of a stand-in."""
    lineage = read_json(served / "lineage.json", stage="package")
    if lineage["fallback"]:
        raise ValueError(
            f"{lineage['name']} learnt from {lineage['dataset']}, a stand-in, and is not for "
            "others to start with; `make repro` tries to fetch the real images again"
        )
    expect_whole(served, lineage)
    with replacing_folder(released) as folder:
        for name in KEPT:
            shutil.copyfile(served / name, folder / name)
    return lineage


def main() -> None:
    with stopping.explained("release"):
        lineage = run()
    metrics = lineage["metrics"]
    print(
        f"released {lineage['name']}, version {lineage['version']}, {metrics['accuracy']:.2%} of "
        f"{metrics['num_images']:,} test images of {lineage['dataset']}; commit {RELEASED}/"
    )


if __name__ == "__main__":
    main()
