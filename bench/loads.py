"""What the services are asked, and what one core does of it without any service."""

import io
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from digits.reading.normalize import read_frame
from digits.serving import limits

BOUNDARY = "between-the-parts"


@dataclass(frozen=True)
class Load:
    """One kind of request."""

    name: str
    path: str
    content_type: str
    body: bytes
    images: int = 1


def as_bytes(frames_NHW: np.ndarray[Any, Any]) -> Load:
    """Frames as they are, for the fast lane."""
    name, num = f"{len(frames_NHW)} frames as bytes", len(frames_NHW)
    return Load(name, "/classify", "application/octet-stream", frames_NHW.tobytes(), num)


def as_png(side: int) -> Load:
    """A drawing of side x side pixels, as the page sends it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    body = head.encode() + _encoded(_digit(side), "PNG") + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return Load(f"a {side}x{side} PNG", "/predict", kind, body)


def _digit(side: int) -> Image.Image:
    """A 2 as the page sends it, with soft edges: black on white, in the middle."""
    canvas = Image.new("L", (280, 280), 255)
    corners = [(80, 90), (110, 55), (160, 50), (195, 85), (190, 130), (80, 225), (205, 225)]
    ImageDraw.Draw(canvas).line(corners, fill=0, width=22, joint="curve")
    return canvas.resize((560, 560)).resize((side, side), Image.Resampling.BOX)


def _small_digit() -> Image.Image:
    """A digit in a corner of the canvas, for which the finer plane is needed."""
    canvas = Image.new("L", (280, 280), 255)
    canvas.paste(_digit(70), (10, 190))
    return canvas


def _row() -> Image.Image:
    """Three digits side by side on the canvas, each of which gets a frame."""
    canvas = Image.new("L", (280, 280), 255)
    for x in (0, 90, 180):
        canvas.paste(_digit(100), (x, 90))
    return canvas


def _photo(*, ruled: bool = False, shadow: bool = False) -> Image.Image:
    """12 megapixels of uneven, grainy paper with a digit on it; lines or a hard shadow too."""
    rng = np.random.default_rng(0)
    width, height = 4000, 3000
    light_HW = np.linspace(150, 230, width)[None, :] + np.linspace(-20, 20, height)[:, None]
    if ruled:
        light_HW[np.arange(height) % 240 < 12] *= 0.75
    if shadow:
        light_HW[:, : width // 3] *= 0.55
    light_HW = light_HW + rng.normal(0, 6, (height, width))
    ink = _digit(280).resize((1800, 1800)).point(lambda level: 255 - level)
    paper = Image.fromarray(light_HW.clip(0, 255).astype(np.uint8))
    paper.paste(40, (1100, 600), ink)
    return paper.convert("RGB")


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


def reading_ms(repeats: int = 50) -> dict[str, float]:
    """Median of decoding and normalising an image on one core, in milliseconds.

    A name begins with the kind, `280x280 PNG` or `12-megapixel JPEG`, and ends with what is on it.
    """
    images = {
        "28x28 PNG": _encoded(_digit(28), "PNG"),
        "280x280 PNG": _encoded(_digit(280), "PNG"),
        "280x280 PNG of a small digit": _encoded(_small_digit(), "PNG"),
        "280x280 PNG of a row of digits": _encoded(_row(), "PNG"),
        "12-megapixel JPEG": _encoded(_photo(), "JPEG"),
        "12-megapixel JPEG of ruled paper": _encoded(_photo(ruled=True), "JPEG"),
        "12-megapixel JPEG with a shadow": _encoded(_photo(shadow=True), "JPEG"),
    }
    taken = {}
    for name, data in images.items():
        seconds = []
        for _ in range(repeats):
            started = time.perf_counter()
            frame_HW = read_frame(data)
            seconds.append(time.perf_counter() - started)
        assert frame_HW.any(), name
        taken[name] = round(statistics.median(seconds) * 1000, 2)
    return taken


def alone(model: Path, frames_NHW: np.ndarray[Any, Any]) -> float:
    """Images a second of ONNX Runtime by itself, 64 at once, a process for each worker."""
    program = (
        "import sys, time, numpy as np, onnxruntime\n"
        "options = onnxruntime.SessionOptions()\n"
        "options.intra_op_num_threads = 1\n"
        "s = onnxruntime.InferenceSession(sys.argv[1], options, ['CPUExecutionProvider'])\n"
        "f = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(-1, 28, 28)\n"
        "n, t = 0, time.perf_counter()\n"
        "while time.perf_counter() - t < 3: s.run(None, {'frames': f}); n += len(f)\n"
        "print(n / (time.perf_counter() - t))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(model / "model.onnx")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(limits.WORKERS)
    ]
    body = frames_NHW[:64].tobytes()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(body)
        process.stdin.close()
    return sum(float(process.stdout.read()) for process in processes if process.stdout)
