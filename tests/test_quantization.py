"""The benchmark of exports, on a model of random weights: what it writes, and what it lets pass."""

import json
from pathlib import Path

import numpy as np
import pytest

import quantization
from drawn import drawn_set
from serving_fixtures import write_bundle


@pytest.mark.filterwarnings("ignore")  # ONNX Runtime's tools use what NumPy no longer likes
def test_every_export_is_read_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "bundle", seed=0)
    (tmp_path / "run.json").write_text(json.dumps({"run_id": "0123", "git_commit": "4567"}))
    (tmp_path / "bench").mkdir()
    images_NHW, labels_N = drawn_set(60, seed=2)
    np.savez(
        tmp_path / "train.npz",
        train_images=images_NHW,
        train_labels=labels_N,
        val_images=images_NHW,
        val_labels=labels_N,
    )
    np.savez(tmp_path / "test.npz", images=images_NHW, labels=labels_N)
    monkeypatch.chdir(tmp_path)
    quantization.main(["--bundle", "bundle", "--prepared", "."])
    exports = json.loads(Path("bench/quantization.json").read_text())["exports"]
    assert list(exports) == ["float32", "float16", "int8, signed weights", "int8, unsigned weights"]
    assert exports["float16"]["onnx_bytes"] < 0.7 * exports["float32"]["onnx_bytes"]
    assert exports["int8, signed weights"]["onnx_bytes"] < 0.7 * exports["float32"]["onnx_bytes"]
    assert all(row["images_per_s"] > 0 for row in exports.values())


def test_an_export_passes_that_loses_at_most_two_hundredths_of_a_point() -> None:
    assert quantization.passes(0.0, 0.0)
    assert quantization.passes(-0.001, 0.0002)
    assert quantization.passes(0.0002, 0.0001)
    assert not quantization.passes(0.0003, 0.0)
    assert not quantization.passes(0.0, 0.0003)  # as many right, but others
