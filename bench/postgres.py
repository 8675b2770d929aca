"""A PostgreSQL server for a while: the binaries that Debian's `postgresql` brings."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

INSTALL = "no PostgreSQL server here; `apt-get install postgresql` brings its binaries"
START_S = 60


def programs() -> Path | None:
    """Where they are; None where there are none."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def is_here() -> bool:
    """Whether a server can be started."""
    return programs() is not None and shutil.which("runuser") is not None


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The address of a server with an empty database, as SQLAlchemy writes it.

    RuntimeError says why there is none.
    """
    binaries = programs()
    if binaries is None or not is_here():
        raise RuntimeError(INSTALL)
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
        process = subprocess.Popen(
            [*as_user, binaries / "postgres", "-D", data, "-k", folder, "-p", str(port)],
            stdout=log,
            stderr=log,
        )
    try:
        until_s = time.monotonic() + START_S
        ready = [binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready, capture_output=True).returncode:
            if process.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError(f"PostgreSQL does not answer: {(folder / 'log').read_text()}")
            time.sleep(0.1)
        yield f"postgresql://digits@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(START_S)
        shutil.rmtree(folder, ignore_errors=True)
