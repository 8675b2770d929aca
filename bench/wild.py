"""How the service reads labelled images that nobody trained on: drawn, scanned, photographed.

    python bench/wild.py [FOLDER] [--url http://127.0.0.1:3000] [--sheet outputs/wild.png]

FOLDER holds `labels.csv` (columns `file` and `label`; -1 for what is no single digit), or folders
that each do. Every image goes through HTTP to the service at the address, or to one that is
started for this and serves the packaged model; where DIGITS_TOKENS is set, its first token is sent.
An answer counts as it is, accepted or not; of the non-digits it is counted how many are accepted. A
file that is not there, or no image, is named and not counted; the others are read all the same, and
the exit status is 1. Writes a sheet of the mistakes, each as the model saw it, and the figures: to
bench/wild.json without a FOLDER, else to outputs/wild.json.
"""

import argparse
import base64
import contextlib
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from digits.files import replacing, write_json
from digits.labelled import read_sets
from digits.reporting import figures
from digits.scores import wilson_interval
from digits.serving.access import read_tokens
from machine import heading

FOLDER = Path("../shared/wild")
OUT = Path("bench/wild.json")
ELSEWHERE = Path("outputs/wild.json")  # of another folder: the committed figures stay
START_S = 60.0
CLIENTS = 4
NUM_SHOWN = 64  # mistakes on the sheet


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The address of a service of the packaged model, for as long as this lasts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline_s = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < deadline_s:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/readyz").is_success:
                    break
            time.sleep(0.1)
        else:
            process.kill()
            raise ValueError(f"the service did not start:\n{process.communicate()[0]}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()


def ask(client: httpx.Client, path: Path) -> dict[str, Any]:
    """The service's answer about a file; ValueError where that is no image to it."""
    files = {"image": (path.name, path.read_bytes())}
    response = client.post("/predict", params={"frame": "true"}, files=files)
    if response.status_code in (413, 422):
        raise ValueError(response.json()["error"])
    content: dict[str, Any] = response.raise_for_status().json()
    return content


def score(labels: list[int], answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one set: how many digits were read right, and refused; how many others accepted."""
    pairs = list(zip(labels, answers, strict=True))
    digits = [(label, answer) for label, answer in pairs if label >= 0]
    others = [answer for label, answer in pairs if label < 0]
    scores: dict[str, Any] = {}
    if digits:
        right = sum(answer["digit"] == label for label, answer in digits)
        low, high = wilson_interval(right / len(digits), len(digits))
        confusion: dict[str, int] = {}
        for label, answer in digits:
            if answer["digit"] != label:
                pair = f"{label} read as {answer['digit']}"
                confusion[pair] = confusion.get(pair, 0) + 1
        scores |= {
            "num_digits": len(digits),
            "accuracy": round(right / len(digits), 5),
            "accuracy_low": round(low, 5),
            "accuracy_high": round(high, 5),
            "refused": round(sum(not a["accepted"] for _, a in digits) / len(digits), 5),
            "mistakes": dict(sorted(confusion.items())),
        }
    if others:
        accepted = sum(answer["accepted"] for answer in others)
        scores |= {"num_others": len(others), "others_accepted": round(accepted / len(others), 5)}
    return scores


def draw(mistakes: list[tuple[Path, int, dict[str, Any]]], path: Path) -> None:
    """The most confident mistakes, as the model saw them."""
    worst = sorted(mistakes, key=lambda mistake: -mistake[2]["confidence"])[:NUM_SHOWN]
    frames = [np.frombuffer(base64.b64decode(a["frame"]), np.uint8) for _, _, a in worst]
    side = math.isqrt(len(frames[0])) if frames else 28
    captions = [
        f"{label} read as {answer['digit']}, {answer['confidence']:.0%}\n{image.stem[-14:]}"
        for image, label, answer in worst
    ]
    images_NHW = np.stack(frames).reshape(-1, side, side) if frames else np.zeros((0, side, side))
    title = f"{len(worst)} of {len(mistakes)} mistakes, the most confident first"
    figure = figures.captioned_sheet(images_NHW.astype(np.uint8), captions, title=title)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=100)


def table(sets: dict[str, dict[str, Any]]) -> str:
    """A line a set, for the terminal, and what was read as what."""
    lines = [f"{'set':16}{'digits':>8}{'right':>9}{'refused':>9}{'others':>8}{'accepted':>10}"]
    for name, row in sets.items():
        line = f"{name:16}"
        line += (
            f"{row['num_digits']:8,}{row['accuracy']:9.2%}{row['refused']:9.2%}"
            if "num_digits" in row
            else " " * 26
        )
        if "num_others" in row:
            line += f"{row['num_others']:8,}{row['others_accepted']:10.2%}"
        lines.append(line.rstrip())
    for name, row in sets.items():
        confusion = [f"{pair} ({num})" for pair, num in row.get("mistakes", {}).items()]
        lines += [f"{name}: {', '.join(confusion)}"] if confusion else []
    return "\n".join(lines)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--url", help="of a running service")
    parser.add_argument("--sheet", type=Path, default=Path("outputs/wild.png"))
    arguments = parser.parse_args(given)
    folder: Path = arguments.folder or FOLDER
    if arguments.folder is None and not folder.exists():
        raise SystemExit(
            f"wild: no folder was given, and {FOLDER}, which the committed figures are of, is not "
            "here; give one of your own: make wild FOLDER=scans"
        )
    try:
        sets = read_sets(folder)
        tokens = read_tokens()
        headers = {"Authorization": f"Bearer {tokens[0]}"} if tokens else {}
        address = contextlib.nullcontext(arguments.url) if arguments.url else served()
        with address as url, httpx.Client(base_url=url, timeout=60, headers=headers) as client:
            model = client.get("/model").raise_for_status().json()
            wanted = {label for rows in sets.values() for _, label in rows if label >= 0}
            if wanted and not wanted & {*model["classes"]}:
                names = ", ".join(map(str, model["classes"]))
                raise ValueError(f"the model reads {names}, and no digit that {folder} has")
            results, mistakes, unread = {}, [], []

            def read(row: tuple[Path, int]) -> tuple[Path, int, dict[str, Any]] | None:
                try:
                    return (*row, ask(client, row[0]))
                except (OSError, ValueError) as error:
                    reason = error.strerror if isinstance(error, OSError) else error
                    unread.append(f"{row[0]}: {reason}")
                    return None

            for name, rows in sets.items():
                with ThreadPoolExecutor(CLIENTS) as pool:
                    found = [row for row in pool.map(read, rows) if row is not None]
                results[name] = score(
                    [label for _, label, _ in found], [answer for _, _, answer in found]
                )
                mistakes += [row for row in found if row[1] >= 0 and row[2]["digit"] != row[1]]
    except (ValueError, OSError, httpx.HTTPError) as error:
        raise SystemExit(f"wild: {error}") from None
    out = OUT if arguments.folder is None else ELSEWHERE
    write_json(
        out,
        {
            **heading("python bench/wild.py", model),
            "sets": results,
        },
    )
    print(table(results))
    if mistakes:
        draw(mistakes, arguments.sheet)
        print(f"the mistakes: {arguments.sheet}")
    print(f"the figures: {out}, of {model['name']}, version {model['version']}")
    if unread:
        raise SystemExit("\n".join(f"wild: not read: {line}" for line in sorted(unread)))


if __name__ == "__main__":
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    main()
