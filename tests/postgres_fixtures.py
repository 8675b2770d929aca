"""A PostgreSQL server of the tests' own: the binaries that Debian's `postgresql` brings."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

INSTALL = "no PostgreSQL server here; `apt-get install postgresql` brings its binaries"
START_S = 60


def programs() -> Path | None:
    """Where they are; None where there are none."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a server with an empty database, as SQLAlchemy writes it."""
    binaries = programs()
    if binaries is None or not shutil.which("runuser"):
        if "CI" in os.environ:
            pytest.fail(INSTALL)
        pytest.skip(INSTALL)
    # It refuses to run as root, and a socket's path has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"
    options = ["--auth=trust", "--username=digits", "--no-sync", "--encoding=UTF8"]
    subprocess.run([*as_user, binaries / "initdb", *options, data], check=True, capture_output=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*as_user, binaries / "postgres", "-D", data, "-k", folder, "-p", str(port)],
            stdout=log,
            stderr=log,
        )
    try:
        until_s = time.monotonic() + START_S
        ready = [binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready, capture_output=True).returncode:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until_s, "PostgreSQL does not answer"
            time.sleep(0.1)
        yield f"postgresql://digits@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(START_S)
        shutil.rmtree(folder, ignore_errors=True)
