"""Show MLflow's pages of the runs, opened where the trainings are listed.

    python -m digits.runs.ui [--port 5000]

Starts MLflow's own server, says where to look once it answers, and ends with it. Where
MLFLOW_TRACKING_URI is a server, its pages are there already.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from types import FrameType

from digits import addresses
from digits.runs import overview, tracking

START_S = 120.0  # on a busy laptop MLflow needs half a minute
# What MLflow says of itself each time, and nobody can act on.
CHATTER = ("Registry store URI not provided", "[MLflow] Security middleware enabled")


class Stopped(BaseException):
    """Somebody has seen enough."""


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", default="5000")
    asked = parser.parse_args(given).port
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    tracking.be_quiet_and_quick()
    uri = tracking.tracking_uri()
    try:
        if uri.startswith("http"):
            page = overview.page()
            print(f"The runs are on a server: open {addresses.without_password(uri)}/{page}")
            return
        port = addresses.expect_free(asked, target="ui")
        print("starting MLflow's pages", flush=True)
        serve(overview.page(), uri=uri, port=port)
    except tracking.TrackingError as error:
        raise SystemExit(f"ui: {error}") from None
    except ValueError as error:
        raise SystemExit(str(error)) from None
    except Stopped:
        raise SystemExit(0) from None


def serve(page: str, *, uri: str, port: int) -> None:
    """Start the server, say where `page` is once it answers, and wait until it ends."""
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--port", str(port)]
    command += ["--uvicorn-opts", "--log-level warning", "--backend-store-uri", uri]
    # In a session of its own, since Ctrl-C while it is still starting would be a traceback. It
    # needs none of the eight processes in which MLflow's server would run jobs.
    environment = {"PYTHONWARNINGS": "ignore", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    threading.Thread(target=_pass_on, args=(process,), daemon=True).start()
    try:
        until_s = time.monotonic() + START_S
        while process.poll() is None and not _answers(address):
            if time.monotonic() > until_s:
                raise SystemExit(f"ui: MLflow has not answered within {START_S:.0f} s, see above")
            time.sleep(0.1)
        if process.poll() is None:
            print(f"Open {address}/{page}    (Ctrl-C ends it)", flush=True)
        if process.wait():
            raise SystemExit("ui: MLflow's server has ended, see above")
    finally:
        _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    """The server's processes are one group; nothing of it stays."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _pass_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdout
    for line in process.stdout:
        if not line.startswith(CHATTER):
            print(line, end="", file=sys.stderr, flush=True)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5):
            return True
    except OSError:  # urllib.error.URLError is one
        return False


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


if __name__ == "__main__":
    main()
