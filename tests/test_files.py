"""A file or a folder is there whole or not at all."""

from pathlib import Path

import pytest

from digits.files import recover_folder, replacing, replacing_folder, write_json


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as beside:
        beside.write_text("one")
        assert not path.exists()
    with replacing(path) as beside:
        beside.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_raises_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fill_the_disk() -> None:
        with replacing(path) as beside:
            beside.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for name in ("one", "two"):
        with replacing_folder(path) as beside:
            (beside / name).write_text(name)
    assert [file.name for file in path.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_raises_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with replacing_folder(path) as beside:
        (beside / "old").touch()

    def fill_the_disk() -> None:
        with replacing_folder(path) as beside:
            (beside / "half").touch()
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert [file.name for file in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_beside_a_folder_is_removed(tmp_path: Path) -> None:
    stale = tmp_path / ".folder.0123abcd.tmp"
    stale.mkdir()
    (stale / "half").touch()
    with replacing_folder(tmp_path / "folder"):
        pass
    assert not stale.exists()


def test_json_is_for_people_and_refuses_what_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"name": "Ω", "value": 1})
    assert path.read_text(encoding="utf-8") == '{\n  "name": "Ω",\n  "value": 1\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"value": float("nan")})
    assert "Ω" in path.read_text(encoding="utf-8")


def test_a_folder_set_aside_by_a_process_that_was_killed_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if target == folder:
            raise KeyboardInterrupt
        return rename(self, target)

    def replace() -> None:
        with replacing_folder(folder) as beside:
            (beside / "new").write_text("new")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            replace()
    assert not folder.exists()
    recover_folder(folder)
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    replace()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
