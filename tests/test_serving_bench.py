"""The benchmark of the service: what `wrk` says is read right, and every load is answered."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import loads
import serving
from digits.reading.normalize import normalize_row
from serving_fixtures import Packaged, Service

# MLflow would know more of a type than ONNX Runtime's function says.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred")

SAID = """  Latency Distribution
     50%  850.00us
     75%    1.20ms
     99%    1.05s
"""


def test_waiting_times_are_read_in_their_units() -> None:
    assert serving._milliseconds(SAID, 50) == 0.85
    assert serving._milliseconds(SAID, 75) == 1.2
    assert serving._milliseconds(SAID, 99) == 1050


def test_reading_is_timed_on_easy_and_on_hard_pictures() -> None:
    taken_ms = loads.reading_ms(repeats=1)
    assert all(milliseconds > 0 for milliseconds in taken_ms.values())
    for kind in ("280x280 PNG", "12-megapixel JPEG"):
        assert len([name for name in taken_ms if name.startswith(kind)]) == 3
    row = normalize_row(loads._row())
    assert len(row.row) == 3
    small, large = (normalize_row(image) for image in (loads._small_digit(), loads._digit(280)))
    assert small.side < large.side / 2
    assert not small.row


def test_every_load_is_answered_by_the_service(
    service: Service, packaged: Packaged, tmp_path: Path
) -> None:
    if not shutil.which("wrk"):
        sentence = "wrk is not installed; `apt-get install wrk`"
        pytest.fail(sentence) if os.environ.get("CI") else pytest.skip(sentence)
    frames_NHW = np.random.default_rng(0).integers(0, 256, (1024, 28, 28), np.uint8)
    ours, minimal, *others = serving.peers(packaged.bundle, frames_NHW, tmp_path)
    assert [other.name for other in others] == ["plain BentoML", "mlflow models serve"]
    assert minimal.loads == ours.loads[:3]
    address = f"http://127.0.0.1:{service.port}"
    for load in ours.loads:
        row = serving.measure(address, load, clients=2, seconds=1, work=tmp_path)
        assert row["requests_per_s"] > 0
        assert row["images_per_s"] == pytest.approx(row["requests_per_s"] * load.images, rel=0.01)
        assert 0 < row["p50_ms"] <= row["p99_ms"]
