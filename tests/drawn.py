"""A tiny synthetic digit set, drawn from polylines: a fixture that needs no download.

Shapes: B batch, H/W pixels.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from digits.reading.normalize import normalize

NDArrayU8 = NDArray[np.uint8]
Point = tuple[float, float]

# Strokes of each digit on a unit square, x to the right and y down.
STROKES: dict[int, list[list[Point]]] = {
    0: [
        [
            (0.5, 0),
            (0.22, 0.12),
            (0.12, 0.5),
            (0.22, 0.88),
            (0.5, 1),
            (0.78, 0.88),
            (0.88, 0.5),
            (0.78, 0.12),
            (0.5, 0),
        ]
    ],
    1: [[(0.55, 0), (0.5, 0.5), (0.47, 1)]],
    2: [
        [
            (0.14, 0.22),
            (0.32, 0.03),
            (0.64, 0.03),
            (0.82, 0.25),
            (0.7, 0.5),
            (0.15, 1),
            (0.88, 0.97),
        ]
    ],
    3: [
        [
            (0.18, 0.08),
            (0.55, 0),
            (0.8, 0.2),
            (0.7, 0.4),
            (0.42, 0.48),
            (0.74, 0.58),
            (0.84, 0.8),
            (0.58, 1),
            (0.14, 0.92),
        ]
    ],
    4: [[(0.3, 0), (0.15, 0.55), (0.85, 0.55)], [(0.7, 0.08), (0.66, 1)]],
    5: [
        [
            (0.82, 0),
            (0.26, 0.02),
            (0.22, 0.42),
            (0.6, 0.4),
            (0.84, 0.65),
            (0.72, 0.93),
            (0.4, 1),
            (0.14, 0.9),
        ]
    ],
    6: [
        [
            (0.7, 0),
            (0.35, 0.3),
            (0.18, 0.7),
            (0.32, 0.97),
            (0.62, 0.98),
            (0.8, 0.78),
            (0.66, 0.55),
            (0.38, 0.56),
            (0.2, 0.74),
        ]
    ],
    7: [[(0.12, 0.03), (0.86, 0.02), (0.58, 0.5), (0.4, 1)]],
    8: [
        [
            (0.78, 0.14),
            (0.5, 0),
            (0.24, 0.18),
            (0.4, 0.42),
            (0.74, 0.66),
            (0.72, 0.93),
            (0.42, 1),
            (0.2, 0.82),
            (0.36, 0.56),
            (0.68, 0.38),
            (0.78, 0.14),
        ]
    ],
    9: [
        [
            (0.78, 0.2),
            (0.5, 0.02),
            (0.24, 0.2),
            (0.3, 0.42),
            (0.58, 0.46),
            (0.78, 0.2),
            (0.74, 0.6),
            (0.6, 1),
        ]
    ],
}


def drawn_digit(label: int, *, rng: np.random.Generator, size: int = 140) -> Image.Image:
    """A digit drawn dark on light: mode L, (size, size), jittered in place, size, slant and pen."""
    scale = 4  # drawn large and reduced, so that strokes have soft edges
    box = size * scale * rng.uniform(0.5, 0.75)
    slant = rng.uniform(-0.15, 0.25)
    left, top = rng.uniform(0.1, 0.9, 2) * (size * scale * 0.85 - box) + size * scale * 0.075
    width = max(2, round(box * rng.uniform(0.07, 0.16)))
    canvas = Image.new("L", (size * scale, size * scale), 255)
    pen = ImageDraw.Draw(canvas)
    for stroke in STROKES[label]:
        points = np.array(stroke) + rng.normal(0, 0.018, (len(stroke), 2))
        points[:, 0] += slant * (0.5 - points[:, 1])
        points = points * box + (left, top)
        path = [(float(x), float(y)) for x, y in points]
        pen.line(path, fill=0, width=width, joint="curve")
        for x, y in (path[0], path[-1]):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=0)
    return canvas.reduce(scale)


def drawn_set(n: int, seed: int) -> tuple[NDArrayU8, NDArrayU8]:
    """n frames as MNIST makes them and their labels, balanced: (B, 28, 28) and (B,) uint8."""
    rng = np.random.default_rng(seed)
    labels_B = rng.permutation(np.arange(n) % 10).astype(np.uint8)
    images_BHW = np.stack([normalize(drawn_digit(int(k), rng=rng)) for k in labels_B])
    return images_BHW, labels_B


def likeness(one: NDArrayU8, other: NDArrayU8) -> float:
    """Cosine of two blurred frames: 1 for the same drawing, 0.9 and less for different digits.

    Blurred, since a thin stroke half a pixel to the side is still the same drawing.
    """
    blur = ImageFilter.BoxBlur(1)
    a, b = (np.asarray(Image.fromarray(f).filter(blur), float).ravel() for f in (one, other))
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else 0.0
