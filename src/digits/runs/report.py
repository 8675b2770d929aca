"""What `digits runs` and `digits compare` show, as one HTML file that needs nothing else."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digits.files import replacing
from digits.runs.comparison import Comparison, Side
from digits.runs.listing import HEADS, Training, cells

PAGES = Path(__file__).parent / "pages"
MOST_SHOWN = 60  # images on which two models disagree


def write_runs(path: Path, trainings: Sequence[Training], *, about: str) -> None:
    """The table of trainings; `about` says which they are."""
    rows = [cells(training) for training in trainings]
    _write(path, "runs.html", heads=HEADS, rows=rows, about=about)


def write_comparison(path: Path, found: Comparison) -> None:
    """Two trainings: verdict, results, parameters, curves, and the images they disagree on."""
    shown = [(one, _picture(one.frame)) for one in found.disagreements[:MOST_SHOWN]]
    _write(
        path, "compare.html", found=found, curves=_curves(found.first, found.second), shown=shown
    )


def _write(path: Path, template: str, **values: Any) -> None:
    import jinja2

    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    with replacing(path) as beside:
        beside.write_text(pages.get_template(template).render(values), encoding="utf-8")


def _picture(frame_HW: NDArray[np.uint8]) -> str:
    """A frame as a PNG that stands in the page itself, ink dark on white."""
    buffer = io.BytesIO()
    Image.fromarray(255 - frame_HW).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _curves(first: Side, second: Side) -> str:
    """Validation accuracy by epoch, as SVG; empty where neither has any."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    if not first.curve and not second.curve:
        return ""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    for letter, side in (("A", first), ("B", second)):
        if side.curve:
            epochs, accuracies = zip(*side.curve, strict=True)
            axes.plot(epochs, accuracies, "o-", label=f"{letter}: {side.name}")
    axes.set(title="Validation accuracy", xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
