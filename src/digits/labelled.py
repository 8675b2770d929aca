"""Labelled images from outside the data set: folders with a `labels.csv` of `file` and `label`."""

import csv
from pathlib import Path

NONE = -1  # the label of what is no single digit
LABELS = {*map(str, range(10)), str(NONE)}


def tables(folder: Path) -> list[Path]:
    """The files that say which images there are; none for a folder without."""
    found = [folder / "labels.csv", *sorted(folder.glob("*/labels.csv"))]
    return [table for table in found if table.is_file()]


def read_sets(folder: Path) -> dict[str, list[tuple[Path, int]]]:
    """Each set's images and labels, by its folder's name; ValueError when there are none."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give one with labelled images")
    sets: dict[str, list[tuple[Path, int]]] = {}
    for table in tables(folder):
        try:
            # Excel begins its UTF-8 with a mark, which is no part of the first column's name.
            with table.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file))
        except ValueError as error:
            raise ValueError(f"{table} is no table in UTF-8: {error}") from None
        # Of the same name are a folder and one in it: both are of one set.
        sets.setdefault(table.parent.name, []).extend(
            _labelled(table, row, number) for number, row in enumerate(rows, start=2)
        )
    if sets and not any(sets.values()):
        raise ValueError(
            f"{' and '.join(map(str, tables(folder)))} name no image: the table is empty"
        )
    if not sets:
        raise ValueError(
            f"{folder} has no labelled images; give a folder with a labels.csv of `file` and "
            "`label`, or with such folders in it"
        )
    return sets


def _labelled(table: Path, row: dict[str, str | None], number: int) -> tuple[Path, int]:
    """A line's image and label; ValueError for one that says neither."""
    if missing := {"file", "label"} - row.keys():
        raise ValueError(f"{table} has no column {min(missing)!r}; it needs `file` and `label`")
    file, label = row["file"], (row["label"] or "").strip()
    if not file or label not in LABELS:
        raise ValueError(
            f"{table}, line {number}: {file!r} has the label {label!r}; give a digit, or {NONE} "
            "for what is none"
        )
    return table.parent / file, int(label)
