"""The benchmark of the service: what `wrk` says is read right, and every load is answered."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import serving
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
