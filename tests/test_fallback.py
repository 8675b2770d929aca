"""What takes the place of a data set that no mirror gives, and what becomes of it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from digits.fetch import NoMirrorError, run
from digits.mirrors import DiskError
from fetch_fixtures import (
    FIRST,
    GOOD,
    NAMES,
    RIGHT,
    fetch,
    fill,
    parsed,
    raw,
    serve,
    source,
    tiny_dataset,
)
from mirror_server import MirrorServer

pytestmark = pytest.mark.usefixtures("no_mirror_of_this_machine")


def test_without_a_mirror_the_small_digits_take_the_place_with_a_loud_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = fetch(tmp_path / "raw", "gone", fallback="optdigits", root=tmp_path)
    said = source(tmp_path / "raw")
    assert report.fallback
    assert (said["name"], said["requested"], said["fallback"]) == ("optdigits", "tiny", True)
    assert "attempt" in said
    assert "WARNING: no mirror gave tiny" in caplog.text

    files = raw(tmp_path / "raw")
    assert files.keys() == RIGHT.keys()
    digests = {role: hashlib.sha256(files[name]).hexdigest() for role, name in NAMES.items()}
    assert said["sha256"] == digests
    arrays = {role: parsed(files[name]) for role, name in NAMES.items()}
    assert arrays["train_images"].shape == (1437, 28, 28)
    assert arrays["test_images"].shape == (360, 28, 28)
    for role in ("train_labels", "test_labels"):
        counts = np.bincount(arrays[role], minlength=10)
        assert counts.min() >= 0.95 * counts.mean(), "stratified"
    # Ink on paper as in MNIST: dark edges, and a 0 that is round, high and hollow.
    zero = arrays["train_images"][arrays["train_labels"] == 0].mean(axis=0)
    assert zero[:3].max() < 60
    assert zero[14, 14] < 100 < max(zero[14, :14])


def test_the_small_digits_are_the_same_each_time_but_never_look_settled(tmp_path: Path) -> None:
    once = fetch(tmp_path / "raw", fallback="optdigits")
    files = raw(tmp_path / "raw")
    again = fetch(tmp_path / "raw", fallback="optdigits")
    assert raw(tmp_path / "raw") == files
    assert again.attempt != once.attempt
    assert replace(again, attempt=once.attempt) == once


def test_the_next_run_that_reaches_a_mirror_replaces_the_small_digits(
    tmp_path: Path, server: MirrorServer
) -> None:
    fetch(tmp_path / "raw", fallback="optdigits")
    # As `prepare` leaves it, and as it is when prepare never ran.
    for removed in (True, False):
        if removed:
            (tmp_path / "raw" / "source.json").unlink()
        fetch(tmp_path / "raw", serve(server), fallback="optdigits")
        assert raw(tmp_path / "raw") == RIGHT
        assert "attempt" not in source(tmp_path / "raw")


def test_a_mirror_that_gives_only_some_files_leaves_the_set_in_place_whole(
    tmp_path: Path,
) -> None:
    fetch(tmp_path / "raw", fallback="optdigits")
    before = raw(tmp_path / "raw"), source(tmp_path / "raw")
    half = fill(tmp_path / "half")
    (half / f"{NAMES['test_labels']}.gz").unlink()
    with pytest.raises(NoMirrorError):
        fetch(tmp_path / "raw", str(half), fallback="none")
    now = {name: content for name, content in raw(tmp_path / "raw").items() if "part" not in name}
    assert (now, source(tmp_path / "raw")) == before

    fetch(tmp_path / "raw", str(half), fallback="optdigits")
    assert raw(tmp_path / "raw") == before[0]
    assert source(tmp_path / "raw")["sha256"] == before[1]["sha256"]


def test_files_of_two_origins_are_never_described_as_one_set(tmp_path: Path) -> None:
    fetch(tmp_path / "raw", fallback="optdigits")
    in_the_way = tmp_path / "raw" / "MNIST" / "raw" / NAMES["test_images"]
    in_the_way.unlink()
    (in_the_way / "something").mkdir(parents=True)
    with pytest.raises(DiskError, match=r"^cannot write "):
        fetch(tmp_path / "raw", str(fill(tmp_path / "m")))
    assert (tmp_path / "raw" / "MNIST" / "raw" / FIRST).read_bytes() == GOOD, "half way through"
    assert not (tmp_path / "raw" / "source.json").exists()


def test_verified_files_are_kept_for_the_next_run(tmp_path: Path, server: MirrorServer) -> None:
    mirror = serve(server)
    last = f"good/{NAMES['test_labels']}.gz"
    server.answers[last] = 404
    with pytest.raises(NoMirrorError):
        fetch(tmp_path / "raw", mirror)
    serve(server)
    server.requests.clear()
    fetch(tmp_path / "raw", mirror)
    assert raw(tmp_path / "raw") == RIGHT
    assert server.requests == [last]


def test_letters_have_no_fallback_in_digits(tmp_path: Path) -> None:
    letters = replace(tiny_dataset(), classes=("A", "B"))
    with pytest.raises(NoMirrorError, match=r"digits 0 to 9, not tiny's classes"):
        run(dataset=letters, fallback="optdigits", out=tmp_path / "raw")
