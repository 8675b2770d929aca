"""Labelled images from outside the data set: folders with a `labels.csv` of `file` and `label`."""

import csv
from pathlib import Path

NONE = -1  # the label of what is no single digit


def tables(folder: Path) -> list[Path]:
    """The files that say which images there are; none for a folder without."""
    found = [folder / "labels.csv", *sorted(folder.glob("*/labels.csv"))]
    return [table for table in found if table.is_file()]


def read_sets(folder: Path) -> dict[str, list[tuple[Path, int]]]:
    """Each set's images and labels, by its folder's name; ValueError when there are none."""
    sets = {}
    for table in tables(folder):
        try:
            # Excel begins its UTF-8 with a mark, which is no part of the first column's name.
            with table.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file))
            sets[table.parent.name] = [
                (table.parent / row["file"], int(row["label"])) for row in rows
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{table} needs the columns file and label, with a digit or -1 in each row: {error}"
            ) from None
    if not any(sets.values()):
        raise ValueError(
            f"{folder} has no labelled images; give a folder with a labels.csv of `file` and "
            "`label`, or with such folders in it"
        )
    return sets
