"""Labelled images from outside: what a spreadsheet saves is read."""

from pathlib import Path

import pytest

from digits.labelled import read_sets


def test_a_table_saved_by_excel_is_read(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbffile,label\r\na.png,7\r\nb.png,-1\r\n")
    assert read_sets(tmp_path) == {
        tmp_path.name: [(tmp_path / "a.png", 7), (tmp_path / "b.png", -1)]
    }


def test_a_folder_and_one_of_its_name_in_it_are_one_set(tmp_path: Path) -> None:
    outer, inner = tmp_path / "lab", tmp_path / "lab/lab"
    inner.mkdir(parents=True)
    for folder, label in ((outer, 1), (inner, 2)):
        (folder / "labels.csv").write_text(f"file,label\na.png,{label}\n")
    assert read_sets(outer) == {"lab": [(outer / "a.png", 1), (inner / "a.png", 2)]}


def test_a_table_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"file,label\ncaf\xe9.png,7\n")
    with pytest.raises(ValueError, match=r"labels\.csv is no table in UTF-8: .*'utf-8' codec"):
        read_sets(tmp_path)
