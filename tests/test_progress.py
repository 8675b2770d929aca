"""How far `digits predict` is, on a terminal."""

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from digits import inputs
from serving_fixtures import drawing, write_bundle

NUM = inputs.MANY + 5


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle", seed=1)
    (tmp_path / "many").mkdir()
    for index in range(NUM):
        (tmp_path / f"many/{index:02}.png").write_bytes(drawing(tilt=index))
    return tmp_path / "many"


def predict(pictures: Path, *, answers_there: bool) -> tuple[str, str]:
    """What a terminal showed, and what went elsewhere."""
    terminal, ours = pty.openpty()
    command = [sys.executable, "-m", "digits.commands", "predict", "--model", "bundle"]
    process = subprocess.Popen(
        [*command, str(pictures)],
        stdout=ours if answers_there else subprocess.PIPE,
        stderr=ours,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(ours)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that nobody writes any more
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    elsewhere, _ = process.communicate()
    assert process.returncode == 0
    return shown.decode(), elsewhere or ""


@pytest.mark.parametrize("answers_there", [False, True], ids=["answers in a pipe", "all there"])
def test_a_terminal_shows_how_many_of_many_are_read(pictures: Path, answers_there: bool) -> None:
    shown, elsewhere = predict(pictures, answers_there=answers_there)
    assert "reading" in shown
    assert f"{NUM}/{NUM}" in shown
    answers = shown if answers_there else elsewhere
    assert all(f"many/{index:02}.png" in answers for index in range(NUM))
    assert ("many/00.png" in shown) is answers_there


def test_few_are_read_without_a_bar(pictures: Path) -> None:
    for path in sorted(pictures.iterdir())[1:]:
        path.unlink()
    shown, elsewhere = predict(pictures, answers_there=False)
    assert shown == ""
    assert len(elsewhere.splitlines()) == 1
