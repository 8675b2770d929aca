"""`make ui` says where MLflow's pages are once they answer, and leaves nothing running."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from digits import addresses
from mlflow_server import answers, free_port
from stores import new_store

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


class Pages:
    """`python -m digits.runs.ui` in a process group of its own, as a shell starts it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self._said = folder / "said"
        command = [sys.executable, "-m", "digits.runs.ui", f"--port={self.port}"]
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=said,
                stderr=said,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def said(self) -> list[str]:
        return self._said.read_text().splitlines()

    def until_said(self, number: int) -> list[str]:
        """The first lines, once there are so many."""
        until_s = time.monotonic() + 120
        while len(self.said()) < number:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until_s, self.said()
            time.sleep(0.1)
        return self.said()

    def interrupt(self) -> int:
        """The exit status after a Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=60)


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    started = Pages(tmp_path, MLFLOW_TRACKING_URI=new_store(tmp_path / "mlflow.db"))
    yield started
    started.process.kill()


def test_the_page_is_named_once_it_answers_and_ctrl_c_ends_all(pages: Pages) -> None:
    first, second = pages.until_said(2)
    assert first == "starting MLflow's pages"
    assert second.startswith(f"Open http://127.0.0.1:{pages.port}/#/experiments/")
    address = second.split()[1].partition("#")[0]
    with urllib.request.urlopen(address, timeout=10) as response:
        assert b"<title>MLflow</title>" in response.read()
    assert pages.interrupt() == 0
    assert len(pages.said()) == 2, pages.said()
    assert not answers(address)


def test_ctrl_c_while_it_starts_is_no_traceback(pages: Pages) -> None:
    pages.until_said(1)
    assert pages.interrupt() == 0
    assert pages.said() == ["starting MLflow's pages"]


def test_a_port_that_is_taken_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "digits.runs.ui", f"--port={port}"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"port {port} is taken already; try make ui PORT={port + 1}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", ["abc", "0", "65536", "-1", "³", ""])
def test_a_port_that_is_none_is_named(given: str) -> None:
    with pytest.raises(ValueError, match="PORT must be a number in 1"):
        addresses.expect_free(given, target="serve")
