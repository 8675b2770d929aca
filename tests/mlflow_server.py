"""MLflow's own tracking server on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


def until_it_answers(address: str) -> None:
    until_s = time.monotonic() + 90
    while not answers(address):
        assert time.monotonic() < until_s, f"{address} does not answer"
        time.sleep(0.1)


class Server:
    """A server in a process group of its own, which takes ten seconds to start.

    `settings` are environment variables: its database, and where artifacts go through it.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self._port = free_port()
        self._log = folder / "server.log"
        # Without the eight processes that wait for jobs: they take a minute and a half to load.
        self._env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **settings}
        self.uri = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers=1"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--host=127.0.0.1", f"--port={self._port}"],
                stdout=log,
                stderr=log,
                env=self._env,
                start_new_session=True,
            )

    def wait(self) -> None:
        until_it_answers(f"{self.uri}/health")

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
