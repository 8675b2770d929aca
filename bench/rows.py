"""How the service reads numbers: recorded digits in a row on one paper.

    python bench/rows.py [STROKES] [--url http://127.0.0.1:3000]

STROKES is a JSON list of drawings, as bench/page.py takes it. Rows of two to five of them, each of
its own height, gap and place on the line, are painted as the page paints its paper, and read
through HTTP by the service at the address, or by one that is started for this and serves the
packaged model. A row that is not split into its digits has none of them right. Writes
bench/rows.json.
"""

import argparse
import contextlib
import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image, ImageDraw

from digits.files import write_json
from digits.scores import wilson_interval
from machine import heading
from wild import served

STROKES = Path("../shared/wild/strokes/strokes.json")
OUT = Path("bench/rows.json")
LENGTHS = (2, 3, 4, 5)
NUM_ROWS = 200  # of each length
SIDE = 280  # of the page's paper
SMOOTH = 4  # painted so many times larger, for soft edges
BRUSH = (6, 20)  # the page's thinnest, and the one it starts with


def compose(drawings: list[dict[str, Any]], rng: np.random.Generator) -> Image.Image:
    """The drawings from left to right on one paper: mode L, (SIDE, SIDE), dark on light."""
    shapes, gaps, offsets = [], [], []
    for drawing in drawings:
        strokes = [np.array(stroke, float) for stroke in drawing["strokes"]]
        points = np.concatenate(strokes)
        corner, height = points.min(axis=0), np.ptp(points[:, 1])
        tall = rng.uniform(0.85, 1.15) / height
        shapes.append([(stroke - corner) * tall for stroke in strokes])
        gaps.append(rng.uniform(0.25, 0.6))  # between lines without width, in heights of a digit
        offsets.append(rng.uniform(-0.08, 0.08))
    widths = [max(stroke[:, 0].max() for stroke in strokes) for strokes in shapes]
    whole = sum(widths) + sum(gaps[:-1])
    height = min(rng.uniform(0.75, 0.9) * SIDE / whole, 0.6 * SIDE)
    pen = float(np.clip(rng.uniform(0.08, 0.14) * height, *BRUSH))
    x, y = (SIDE - whole * height) / 2, (SIDE - height) / 2
    paper = Image.new("L", (SIDE * SMOOTH, SIDE * SMOOTH), 255)
    for strokes, width, gap, offset in zip(shapes, widths, gaps, offsets, strict=True):
        for stroke in strokes:
            paint(paper, stroke * height + (x, y + offset * height), pen)
        x += (width + gap) * height
    return paper.reduce(SMOOTH)


def paint(paper: Image.Image, stroke_N2: np.ndarray, pen: float) -> None:
    """A line with round ends and corners."""
    draw = ImageDraw.Draw(paper)
    path = [(float(x), float(y)) for x, y in stroke_N2 * SMOOTH]
    radius = pen * SMOOTH / 2
    draw.line(path, fill=0, width=round(2 * radius))
    for x, y in path:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=0)


def ask(client: httpx.Client, image: Image.Image) -> dict[str, Any]:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    response = client.post("/predict", files={"image": ("row.png", buffer.getvalue())})
    answer: dict[str, Any] = response.raise_for_status().json()
    return answer


def score(pairs: list[tuple[list[int], dict[str, Any]]]) -> dict[str, Any]:
    """Of rows and the answers to them: the share of whole rows and of single digits read right."""
    read = [(label, [part["digit"] for part in answer["row"]]) for label, answer in pairs]
    num_digits = sum(len(label) for label, _ in read)
    split = [(label, row) for label, row in read if len(label) == len(row)]
    right = sum(a == b for label, row in split for a, b in zip(label, row, strict=True))
    whole = sum(label == row for label, row in read) / len(read)
    low, high = wilson_interval(whole, len(read))
    apart = [
        answer["reason"] or "read as one digit"
        for label, answer in pairs
        if len(label) != len(answer["row"])
    ]
    return {
        "num_rows": len(read),
        "num_digits": num_digits,
        "rows_right": round(whole, 5),
        "rows_right_low": round(low, 5),
        "rows_right_high": round(high, 5),
        "digits_right": round(right / num_digits, 5),
        "split": round(len(split) / len(read), 5),
        "digits_right_where_split": round(right / max(1, sum(len(row) for _, row in split)), 5),
        "not_split": dict(sorted(Counter(apart).items())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("strokes", nargs="?", type=Path, default=STROKES)
    parser.add_argument("--url", help="of a running service")
    arguments = parser.parse_args()
    try:
        drawings = json.loads(arguments.strokes.read_text())
    except (OSError, ValueError) as error:
        raise SystemExit(f"rows: {arguments.strokes} is no file of drawings: {error}") from None
    rng = np.random.default_rng(0)
    address = contextlib.nullcontext(arguments.url) if arguments.url else served()
    pairs = []
    with address as url, httpx.Client(base_url=url, timeout=60) as client:
        model = client.get("/model").raise_for_status().json()
        for length in LENGTHS:
            for _ in range(NUM_ROWS):
                row = [drawings[index] for index in rng.choice(len(drawings), length)]
                answer = ask(client, compose(row, rng))
                pairs.append(([drawing["label"] for drawing in row], answer))
    result = {
        **heading("python bench/rows.py", model),
        "seed": 0,
        "all": score(pairs),
        "of": {
            str(length): score([pair for pair in pairs if len(pair[0]) == length])
            for length in LENGTHS
        },
    }
    write_json(OUT, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    main()
