"""Arrays are written whole, and as the same bytes by every Python."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from digits.arrays import write_arrays

IMAGES = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
LABELS = np.array([1, 2], np.uint8)
# Of the file that Python 3.11.2 and 3.11.7 write of the two: what dvc.lock compares.
DIGEST = "1c7261d0e7a7d9f4a697be47813c612a1aa301547c03d6fe7763eb6fd4d52325"


def test_arrays_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    write_arrays(path, images=IMAGES, labels=LABELS)
    with np.load(path) as arrays:
        assert arrays.files == ["images", "labels"]
        np.testing.assert_array_equal(arrays["images"], IMAGES)
        np.testing.assert_array_equal(arrays["labels"], LABELS)


def test_the_bytes_follow_from_the_arrays_alone(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    write_arrays(path, images=IMAGES, labels=LABELS)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == DIGEST


def test_what_cannot_be_written_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="Object arrays"):
        write_arrays(path, images=np.array([{}]))
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"before"]
