"""Requests a second and waiting times: this service and three others, with the same model.

    python bench/serving.py [--seconds 2] [--rounds 5] [--only ours]

One run on one machine: the packaged model, the same frames, the same number of workers, and `wrk`
(Debian has it) for all of them; the load generator shares the cores with the service. Each peer
takes what it takes: bytes, multipart, or JSON. Writes bench/serving.json.
"""

import argparse
import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import psutil

from digits.files import write_json
from digits.reading.packaged import packaged_folder
from digits.reading.predictor import Predictor
from digits.serving import limits
from loads import Load, alone, as_bytes, as_png, reading_ms
from machine import describe

OUT = Path("bench/serving.json")
PEERS = Path(__file__).resolve().parent / "peers"
CLIENTS = (1, 16, 64)
MOST_LOADS = 5  # kinds of requests that a service is asked
START_S = 120.0


@dataclass(frozen=True)
class Peer:
    """A service: how to start it, where it says that it is ready, and what it is asked."""

    name: str
    command: str
    ready: str
    loads: list[Load]
    env: dict[str, str]


@dataclass
class Service:
    """A peer that runs, and what was measured of it."""

    peer: Peer
    address: str
    start_s: float
    process: psutil.Process
    rows: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)


def peers(model: Path, frames_NHW: np.ndarray[Any, Any], work: Path) -> list[Peer]:
    """The services, with `{port}` where theirs goes."""
    workers = str(limits.WORKERS)
    env = {"MODEL": str(model.resolve() / "model.onnx"), "WORKERS": workers}
    one = [as_bytes(frames_NHW[:num]) for num in (1, 64, 1024)]
    as_json = json.dumps({"frames": frames_NHW[:1].tolist()}).encode()
    inputs = json.dumps({"inputs": frames_NHW[:1].tolist()}).encode()
    return [
        Peer(
            "ours",
            "bentoml serve --port {port}",
            "/readyz",
            [*one, as_png(28), as_png(280)],
            {},
        ),
        Peer(
            "minimal FastAPI",
            f"uvicorn minimal:app --app-dir {PEERS} --workers {workers} --port {{port}} "
            "--no-access-log --log-level warning",
            "/readyz",
            one,
            env,
        ),
        Peer(
            "plain BentoML",
            f"bentoml serve plain:Plain --working-dir {PEERS} --port {{port}}",
            "/readyz",
            [Load("1 frames as JSON", "/predict", "application/json", as_json)],
            env,
        ),
        Peer(
            "mlflow models serve",
            f"mlflow models serve --model-uri {_mlflow_model(model, work)} --env-manager local "
            f"--workers {workers} --port {{port}}",
            "/ping",
            [Load("1 frames as JSON", "/invocations", "application/json", inputs)],
            {},
        ),
    ]


def _mlflow_model(model: Path, work: Path) -> Path:
    import mlflow.onnx
    from mlflow.models import infer_signature

    frames_BHW = np.zeros((1, 28, 28), np.uint8)
    signature = infer_signature(frames_BHW, Predictor.open(model).outputs(frames_BHW))
    path = work / "mlflow-model"
    mlflow.onnx.save_model(onnx.load(model / "model.onnx"), str(path), signature=signature)
    return path


@contextlib.contextmanager
def running(peer: Peer, log: Path) -> Iterator[tuple[str, float, psutil.Process]]:
    """The service's address, the seconds until it was ready, and its process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", *shlex.split(peer.command.format(port=port))]
    started = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env={**os.environ, **peer.env},
            start_new_session=True,
        )
    try:
        while True:
            if process.poll() is not None or time.perf_counter() - started > START_S:
                raise SystemExit(f"serving: {peer.name} did not start:\n{log.read_text()}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(address + peer.ready).is_success:
                    break
            time.sleep(0.02)
        yield address, time.perf_counter() - started, psutil.Process(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def settle(process: psutil.Process) -> None:
    """Wait until a service has answered those who no longer wait for it."""
    every = [process, *process.children(recursive=True)]
    while True:
        busy = -sum(sum(one.cpu_times()[:2]) for one in every)
        time.sleep(0.3)
        busy += sum(sum(one.cpu_times()[:2]) for one in every)
        if busy < 0.05:
            return


def measure(address: str, load: Load, *, clients: int, seconds: int, work: Path) -> dict[str, Any]:
    """What `wrk` says of one kind of request by so many clients."""
    (work / "body").write_bytes(load.body)
    script = work / "ask.lua"
    script.write_text(
        f'local file = io.open("{work / "body"}", "rb")\n'
        'wrk.method = "POST"\nwrk.body = file:read("*a")\n'
        f'wrk.headers["Content-Type"] = "{load.content_type}"\n'
    )
    command = ["wrk", "--threads", "1", "--connections", str(clients), "--latency"]
    command += ["--duration", f"{seconds}s", "--script", str(script), address + load.path]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    if refused:
        raise SystemExit(f"serving: {load.name}: {refused[1]} requests were refused\n{said}")
    rate = float(re.search(r"Requests/sec: +([\d.]+)", said)[1])  # type: ignore[index]
    return {
        "load": load.name,
        "clients": clients,
        "requests_per_s": round(rate, 1),
        "images_per_s": round(rate * load.images, 1),
        **{f"p{share}_ms": _milliseconds(said, share) for share in (50, 99)},
    }


def _milliseconds(said: str, share: int) -> float:
    number, unit = re.search(rf"^ +{share}% +([\d.]+)(us|ms|s)", said, re.M).groups()  # type: ignore[union-attr]
    return round(float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit], 3)


def memory_mb(process: psutil.Process) -> float:
    """What a service's processes hold, what they share counted once."""
    every = [process, *process.children(recursive=True)]
    return round(sum(one.memory_full_info().pss for one in every) / 2**20)


def in_turn(services: list[Service], *, seconds: int, rounds: int, work: Path) -> None:
    """Ask every service everything, round by round, so that a slow moment is not one service's."""
    for service in services:
        for load in service.peer.loads:
            measure(service.address, load, clients=4, seconds=1, work=work)  # warm
    for number in range(1, rounds + 1):
        for index, clients in itertools.product(range(MOST_LOADS), CLIENTS):
            for service in services:
                if index < len(service.peer.loads):
                    for any_of_them in services:  # one may still answer what was asked of it
                        settle(any_of_them.process)
                    load = service.peer.loads[index]
                    row = measure(
                        service.address, load, clients=clients, seconds=seconds, work=work
                    )
                    service.rows.setdefault((load.name, clients), []).append(row)
        print(f"round {number} of {rounds}", flush=True)


def typical(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The median over the rounds of each figure."""
    figures = [key for key in rows[0] if key not in ("load", "clients")]
    medians = {key: round(statistics.median(row[key] for row in rows), 3) for key in figures}
    return {"load": rows[0]["load"], "clients": rows[0]["clients"], **medians}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="whose median is taken")
    parser.add_argument("--only", help="measure one service, and write nothing")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("serving: `wrk` is missing; apt-get install wrk")
    model = packaged_folder()
    rng = np.random.default_rng(0)
    frames_NHW = rng.integers(0, 256, (1024, 28, 28), np.uint8)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        work = Path(folder)
        services = []
        for index, peer in enumerate(peers(model, frames_NHW, work)):
            if arguments.only in (None, peer.name):
                started = stack.enter_context(running(peer, work / f"log-{index}"))
                services.append(Service(peer, *started))
        in_turn(services, seconds=arguments.seconds, rounds=arguments.rounds, work=work)
        found = {
            service.peer.name: {
                "start_s": round(service.start_s, 2),
                "memory_mb": memory_mb(service.process),
                "rows": [typical(rows) for rows in service.rows.values()],
            }
            for service in services
        }
    for name, of_it in found.items():
        for row in of_it["rows"]:
            print(
                f"{name:20} {row['load']:22} {row['clients']:3} clients "
                f"{row['requests_per_s']:9,.0f} requests/s  p50 {row['p50_ms']:8.2f} ms"
                f"  p99 {row['p99_ms']:8.2f} ms"
            )
    images_per_s = round(alone(model, frames_NHW))
    print(f"ONNX Runtime alone, 64 at once: {images_per_s:,} images/s")
    taken_ms = reading_ms()
    for name, milliseconds in taken_ms.items():
        print(f"decoding and normalising a {name}: {milliseconds} ms")
    if arguments.only is None:
        command = (
            f"python bench/serving.py --seconds {arguments.seconds} --rounds {arguments.rounds}"
        )
        write_json(
            OUT,
            {
                "command": command,
                "machine": describe(),
                "num_workers": limits.WORKERS,
                "onnxruntime_alone_images_per_s": images_per_s,
                "decode_and_normalize_ms": taken_ms,
                "services": found,
            },
        )


if __name__ == "__main__":
    main()
