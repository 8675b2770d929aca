"""The fetch stage against real web servers and folders on this machine, good and bad."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from digits.fetch import NoMirrorError, SourceReport, run
from digits.mirrors import DiskError, Patience
from digits.optdigits import idx
from digits.settings import Dataset, IdxFile, Synthetic
from mirror_server import Answer, MirrorServer, send, serving

ROOT = Path(__file__).parent.parent
GATE = yaml.safe_load((ROOT / "params.yaml").read_text())["gate"]
NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
FIRST = NAMES["train_images"]  # the first file that any mirror is asked for
# Long enough for a busy machine, short enough for a test that waits it out.
HURRY = Patience(connect_s=5, stall_s=0.4, total_s=20, attempts=3, backoff_s=0)
UNREACHABLE = "http://127.0.0.1:9"  # the discard port: nobody listens there


def tiny_contents() -> dict[str, bytes]:
    """Four IDX files by role: noise, as fetch does not look inside."""
    rng = np.random.default_rng(0)
    contents = {}
    for part, num in (("train", 40), ("test", 20)):
        contents[f"{part}_images"] = idx(rng.integers(0, 256, (num, 28, 28), dtype=np.uint8))
        contents[f"{part}_labels"] = idx((np.arange(num) % 10).astype(np.uint8))
    return contents


CONTENTS = tiny_contents()


def tiny_dataset(*mirrors: str) -> Dataset:
    return Dataset(
        name="tiny",
        licence="none",
        classes=tuple(range(10)),
        image_size=28,
        num_train=40,
        num_test=20,
        files={
            role: IdxFile(
                name=NAMES[role],
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
            for role, content in CONTENTS.items()
        },
        mirrors=mirrors,
        synthetic=Synthetic(digits=0, nondigits=0),
    )


def fill(folder: Path, *, gz: bool = True) -> Path:
    """A mirror in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for role, content in CONTENTS.items():
        name = f"{NAMES[role]}.gz" if gz else NAMES[role]
        (folder / name).write_bytes(gzip.compress(content) if gz else content)
    return folder


def serve(server: MirrorServer, *, under: str = "good", gz: bool = True) -> str:
    """All four files on the web server; gives the mirror's address."""
    for role, content in CONTENTS.items():
        path = f"{under}/{NAMES[role]}" + (".gz" if gz else "")
        server.answers[path] = gzip.compress(content) if gz else content
    return f"{server.address}/{under}"


def fetch(out: Path, *mirrors: str, fallback: str = "none", **more: object) -> SourceReport:
    return run(
        dataset=tiny_dataset(*mirrors),
        fallback=fallback,
        out=out,
        patience=HURRY,
        **more,  # type: ignore[arg-type]
    )


def raw(out: Path) -> dict[str, bytes]:
    """Every file in the folder of the four, by name: nothing else may be there."""
    return {path.name: path.read_bytes() for path in (out / "MNIST" / "raw").iterdir()}


def source(out: Path) -> dict[str, object]:
    content = json.loads((out / "source.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def everything(out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file: equal when nothing was touched."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


RIGHT = {NAMES[role]: content for role, content in CONTENTS.items()}


@pytest.fixture
def server() -> Iterator[MirrorServer]:
    with serving() as mirror:
        yield mirror


@pytest.fixture(autouse=True)
def _no_proxy_and_no_mirror_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("MNIST_MIRROR", raising=False)
    caplog.set_level("INFO", logger="digits.fetch")


@pytest.mark.parametrize("gz", [True, False], ids=["gzipped", "plain"])
@pytest.mark.parametrize("kind", ["folder", "web"])
def test_four_verified_files_and_their_description_come_from_a_mirror(
    tmp_path: Path, server: MirrorServer, kind: str, gz: bool
) -> None:
    mirror = str(fill(tmp_path / "m", gz=gz)) if kind == "folder" else serve(server, gz=gz)
    report = fetch(tmp_path / "raw", mirror)
    assert raw(tmp_path / "raw") == RIGHT
    assert source(tmp_path / "raw") == {
        "name": "tiny",
        "requested": "tiny",
        "fallback": False,
        "licence": "none",
        "classes": list(range(10)),
        "image_size": 28,
        "sha256": {role: hashlib.sha256(content).hexdigest() for role, content in CONTENTS.items()},
    }
    assert report.name == "tiny"


def test_the_result_does_not_tell_which_mirror_gave_it(
    tmp_path: Path, server: MirrorServer
) -> None:
    fetch(tmp_path / "one", str(fill(tmp_path / "m")))
    fetch(tmp_path / "two", "http://127.0.0.1:9", serve(server))
    one, two = ((tmp_path / name / "source.json").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_folder_is_relative_to_the_root_and_an_unset_variable_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "beside" / "mnist")
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.delenv("NOWHERE_SET", raising=False)
    fetch(tmp_path / "raw", "$NOWHERE_SET", "../beside/mnist", root=root)
    assert raw(tmp_path / "raw") == RIGHT
    assert "mirror failed" not in caplog.text


def test_a_mirror_is_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_MIRROR", str(fill(tmp_path / "mine")))
    fetch(tmp_path / "raw", "$MNIST_MIRROR", UNREACHABLE)
    assert raw(tmp_path / "raw") == RIGHT


def test_a_server_may_uncompress_on_the_way(tmp_path: Path, server: MirrorServer) -> None:
    mirror = serve(server)
    for role, content in CONTENTS.items():
        server.answers[f"good/{NAMES[role]}.gz"] = content
    server.answers[f"good/{FIRST}.gz"] = lambda handler: send(
        handler, gzip.compress(CONTENTS["train_images"]), Content_Encoding="gzip"
    )
    fetch(tmp_path / "raw", mirror)
    assert raw(tmp_path / "raw") == RIGHT


# What a mirror that is good but for its first file answers there, and what it is blamed for.
GOOD = CONTENTS["train_images"]
ZIPPED = gzip.compress(GOOD)
BROKEN_WEB: dict[str, tuple[Callable[[MirrorServer], Answer], str]] = {
    "not there": (lambda _: 404, f"holds neither {FIRST}.gz nor {FIRST}"),
    "not there, as object stores say it": (lambda _: 403, "answered HTTP 403 Forbidden"),
    "always out of order": (lambda _: 503, "answered HTTP 503 Service Unavailable"),
    "asking for a password": (lambda _: 401, "answered HTTP 401 Unauthorized"),
    "a sign-in page": (lambda _: b"<html>sign in</html>", "has 20 bytes uncompressed"),
    "empty": (lambda _: b"", "has 0 bytes uncompressed"),
    "other images": (lambda _: gzip.compress(GOOD[:-1] + b"x"), "has SHA-256"),
    "gzip cut short": (lambda _: ZIPPED[:-20], "is cut short"),
    "gzip damaged": (lambda _: ZIPPED[:99] + b"\0\0\0\0" + ZIPPED[103:], "is damaged"),
    "longer when unpacked": (lambda _: gzip.compress(GOOD + b"x"), "has more than"),
    "far too long": (lambda _: bytes(2_000_000), "has more than"),
    "hanging up": (
        lambda _: lambda handler: send(handler, ZIPPED[:500], promised=len(ZIPPED)),
        "broke off",
    ),
    "stalling": (
        lambda mirror: mirror.stall_after(ZIPPED[:500], promised=len(ZIPPED)),
        "sent nothing for 0.4 s",
    ),
}


@pytest.mark.parametrize("kind", BROKEN_WEB)
def test_a_web_mirror_that_fails_is_named_and_the_next_one_asked(
    tmp_path: Path, server: MirrorServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    bad, good = serve(server, under="bad"), serve(server)
    make, blame = BROKEN_WEB[kind]
    server.answers[f"bad/{FIRST}.gz"] = answer = make(server)
    if answer == 403:
        server.answers[f"bad/{FIRST}"] = answer
    fetch(tmp_path / "raw", bad, good)
    assert raw(tmp_path / "raw") == RIGHT
    (failure,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert failure.startswith(f"mirror failed: {bad}: ")
    assert blame in failure
    assert "\n" not in failure


@pytest.mark.parametrize(
    ("bad", "blame"),
    [
        (UNREACHABLE, "could not be reached"),
        ("http://no-such-host.invalid/mnist", "could not be resolved"),
        ("http://[broken", "cannot be read"),
        ("ftp://127.0.0.1/mnist", "is neither a folder nor an http(s) address"),
        ("no/such/folder", "there is no such folder"),
        (".", f"holds neither {FIRST} nor {FIRST}.gz"),
    ],
)
def test_a_mirror_that_is_not_there_is_named_and_the_next_one_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: str, blame: str
) -> None:
    fetch(tmp_path / "raw", bad, str(fill(tmp_path / "m")), root=tmp_path)
    assert raw(tmp_path / "raw") == RIGHT
    (failure,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert failure.startswith(f"mirror failed: {bad}: ")
    assert blame in failure
    assert "trying again" not in caplog.text, "offline, that would only cost time"


def test_a_damaged_folder_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = fill(tmp_path / "damaged")
    (damaged / f"{FIRST}.gz").write_bytes(ZIPPED[:-9])
    fetch(tmp_path / "raw", str(damaged), str(fill(tmp_path / "m", gz=False)))
    assert raw(tmp_path / "raw") == RIGHT
    assert f"mirror failed: {damaged}: {FIRST}.gz is cut short" in caplog.text


def test_a_mirror_out_of_order_for_a_moment_is_asked_again(
    tmp_path: Path, server: MirrorServer
) -> None:
    mirror = serve(server)
    path = f"good/{FIRST}.gz"
    server.answers[path] = [503, lambda handler: send(handler, b"", promised=9), ZIPPED]
    fetch(tmp_path / "raw", mirror)
    assert raw(tmp_path / "raw") == RIGHT
    assert server.requests.count(path) == 3


def test_what_is_not_there_is_not_asked_for_again(tmp_path: Path, server: MirrorServer) -> None:
    with pytest.raises(NoMirrorError):
        fetch(tmp_path / "raw", f"{server.address}/nothing")
    assert server.requests == [f"nothing/{FIRST}.gz", f"nothing/{FIRST}"]


def test_files_that_one_mirror_gave_are_not_asked_of_the_next(
    tmp_path: Path, server: MirrorServer
) -> None:
    half, good = serve(server, under="half"), serve(server)
    server.answers[f"half/{NAMES['test_images']}.gz"] = 404
    fetch(tmp_path / "raw", half, good)
    assert raw(tmp_path / "raw") == RIGHT
    asked = [path for path in server.requests if path.startswith("good/")]
    assert asked == [f"good/{NAMES['test_images']}.gz", f"good/{NAMES['test_labels']}.gz"]


def test_without_a_fallback_the_error_names_every_mirror_and_why(
    tmp_path: Path, server: MirrorServer
) -> None:
    wrong = serve(server)
    server.answers[f"good/{FIRST}.gz"] = b"something else"
    with pytest.raises(NoMirrorError) as caught:
        fetch(tmp_path / "raw", "gone", wrong, UNREACHABLE, root=tmp_path)
    message = str(caught.value)
    assert "gone: there is no such folder" in message
    assert f"{wrong}: {FIRST} has 14 bytes uncompressed, expected 31,376" in message
    assert f"{UNREACHABLE}: could not be reached" in message
    assert "\n" not in message
    assert raw(tmp_path / "raw") == {}
    assert not (tmp_path / "raw" / "source.json").exists()


def test_a_password_in_an_address_is_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NoMirrorError) as caught:
        fetch(tmp_path / "raw", "http://me:secret@127.0.0.1:9/mnist")
    assert "secret" not in caplog.text + str(caught.value)
    assert "http://127.0.0.1:9/mnist: could not be reached" in str(caught.value)


def test_valid_files_are_left_as_they_are_and_no_mirror_is_asked(
    tmp_path: Path, server: MirrorServer
) -> None:
    mirror = serve(server)
    first = fetch(tmp_path / "raw", mirror)
    before = everything(tmp_path / "raw")
    server.requests.clear()
    assert fetch(tmp_path / "raw", mirror) == first
    assert everything(tmp_path / "raw") == before
    assert server.requests == []
    assert fetch(tmp_path / "raw") == first, "and it needs no mirror at all"


@pytest.mark.parametrize("damage", ["cut short", "changed", "gone"])
def test_one_bad_file_alone_is_fetched_again(
    tmp_path: Path, server: MirrorServer, damage: str
) -> None:
    mirror = serve(server)
    fetch(tmp_path / "raw", mirror)
    path = tmp_path / "raw" / "MNIST" / "raw" / NAMES["test_images"]
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut short" else b"x" + content[1:])
    server.requests.clear()
    fetch(tmp_path / "raw", mirror)
    assert raw(tmp_path / "raw") == RIGHT
    assert server.requests == [f"good/{NAMES['test_images']}.gz"]
    assert source(tmp_path / "raw")["name"] == "tiny"


def test_a_missing_description_is_written_again(tmp_path: Path) -> None:
    fetch(tmp_path / "raw", str(fill(tmp_path / "m")))
    before = source(tmp_path / "raw")
    (tmp_path / "raw" / "source.json").unlink()
    fetch(tmp_path / "raw")
    assert source(tmp_path / "raw") == before


def test_leftovers_of_a_run_that_was_cut_off_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in (f"{FIRST}.part", f"{FIRST}.download.part", "other.part"):
        (folder / name).write_bytes(GOOD[:100])
    (tmp_path / "raw" / "source.json.part").write_text('{"name": "ti')
    fetch(tmp_path / "raw", str(fill(tmp_path / "m")))
    assert raw(tmp_path / "raw") == RIGHT
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["MNIST", "source.json"]


def parsed(content: bytes) -> np.ndarray:
    ndim = content[3]
    shape = np.frombuffer(content, ">u4", count=ndim, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * ndim).reshape(shape)


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


def project(folder: Path, *mirrors: str, fallback: str = "none") -> Path:
    """A project's root with what the command reads."""
    (folder / "conf" / "data").mkdir(parents=True, exist_ok=True)
    dataset = asdict(tiny_dataset(*mirrors))
    dataset |= {"classes": list(range(10)), "mirrors": list(mirrors)}
    (folder / "conf" / "data" / "tiny.yaml").write_text(yaml.safe_dump(dataset, sort_keys=False))
    params = {"data": {"name": "tiny", "fallback": fallback}, "val_size": 10, "seed": 1}
    (folder / "params.yaml").write_text(
        yaml.safe_dump({**params, "candidates": ["mlp"], "compare": [], "gate": GATE})
    )
    return folder


COMMAND = [sys.executable, "-m", "digits.fetch", "--out", "data/raw"]


def command(root: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """The command as dvc.yaml has it, in a process of its own, after some Python of the test's."""
    code = f"{before}\nimport sys; from digits.fetch import main; sys.exit(main())"
    argv = [sys.executable, "-c", code, *COMMAND[3:]] if before else COMMAND
    return subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_fetches_another_data_set_when_asked_to(tmp_path: Path) -> None:
    root = project(tmp_path / "project", "gone")
    shutil.copyfile(ROOT / "conf/data/optdigits.yaml", root / "conf/data/optdigits.yaml")
    done = subprocess.run(
        [*COMMAND[:3], "--data", "optdigits"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "data/optdigits/raw: optdigits, CC BY 4.0\n"
    images = parsed(raw(root / "data/optdigits/raw")["train-images-idx3-ubyte"])
    assert (images.shape, images.max()) == ((1437, 8, 8), 255)


def test_digits_that_scikit_learn_changed_are_not_taken(tmp_path: Path) -> None:
    with pytest.raises(NoMirrorError, match="scikit-learn: its train_images are not those of"):
        fetch(tmp_path / "raw", "scikit-learn")
    assert raw(tmp_path / "raw") == {}


def test_the_command_fetches_what_params_yaml_names(tmp_path: Path) -> None:
    root = project(tmp_path / "project", str(fill(tmp_path / "m")))
    done = command(root)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "data/raw: tiny, none\n"
    assert raw(root / "data" / "raw") == RIGHT


def test_an_error_is_one_line_and_status_one(tmp_path: Path) -> None:
    root = project(tmp_path / "project", "gone", "also/gone")
    done = command(root)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("digits.fetch: tiny could not be fetched: gone: there is no such folder")
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("name: tiny", "name: tniy"))
    done = command(root)
    assert done.returncode == 1
    assert done.stderr == (
        "digits.fetch: data.name 'tniy' is not in conf/data (tiny); did you mean 'tiny'?\n"
    )


@pytest.fixture
def cut_off(tmp_path: Path, server: MirrorServer) -> Iterator[subprocess.Popen[str]]:
    """The command, in the middle of its second file from a mirror that stalls there."""
    mirror = serve(server)
    second = f"good/{NAMES['train_labels']}.gz"
    server.answers[second] = server.stall_after(b"\x1f\x8b", promised=60)
    root = project(tmp_path / "project", mirror)
    with subprocess.Popen(COMMAND, cwd=root, stderr=subprocess.PIPE, text=True) as process:
        download = root / "data/raw/MNIST/raw" / f"{NAMES['train_labels']}.download.part"
        deadline = time.monotonic() + 30
        while not (download.exists() and download.stat().st_size):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
        process.kill()


def test_a_killed_run_leaves_nothing_that_looks_valid_and_the_next_one_succeeds(
    tmp_path: Path, server: MirrorServer, cut_off: subprocess.Popen[str]
) -> None:
    cut_off.send_signal(signal.SIGKILL)
    assert cut_off.wait(10) == -signal.SIGKILL
    out = tmp_path / "project" / "data" / "raw"
    assert all(name.endswith(".part") for name in raw(out))
    assert not (out / "source.json").exists()
    serve(server)
    done = command(tmp_path / "project")
    assert done.returncode == 0, done.stderr
    assert raw(out) == RIGHT


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_cleans_up_and_says_so(
    tmp_path: Path, cut_off: subprocess.Popen[str], kind: signal.Signals
) -> None:
    cut_off.send_signal(kind)
    _, stderr = cut_off.communicate(timeout=10)
    assert cut_off.returncode == 130
    assert stderr.splitlines()[-1] == "digits.fetch: interrupted; run again to go on"
    assert "Traceback" not in stderr
    out = tmp_path / "project" / "data" / "raw"
    assert raw(out) == {f"{FIRST}.part": GOOD}, "the file that was whole is kept for the next run"
    assert not (out / "source.json").exists()


@pytest.mark.parametrize("kind", ["folder", "web"])
def test_a_full_disk_stops_the_run_with_one_sentence(
    tmp_path: Path, server: MirrorServer, kind: str
) -> None:
    mirror = str(fill(tmp_path / "m")) if kind == "folder" else serve(server, gz=False)
    root = project(tmp_path / "project", mirror, UNREACHABLE, fallback="optdigits")
    # No file may grow beyond this: the system refuses the write, as it does when a disk is full.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))"
    done = command(root, before=limit)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("digits.fetch: cannot write data/raw/MNIST/raw/train-images")
    assert last.endswith("File too large; make room there and run again")
    assert "mirror failed" not in done.stderr, "no other mirror would help"
    assert raw(root / "data" / "raw") == {}
    assert command(root).returncode == 0


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("not a folder")
    with pytest.raises(DiskError, match=r"^cannot write .*raw: "):
        fetch(tmp_path / "raw", str(fill(tmp_path / "m")))


def test_starting_loads_nothing_heavy() -> None:
    code = (
        "import sys, digits.fetch; "
        "print(*{'torch', 'sklearn', 'numpy', 'fsspec', 'aiohttp', 'tenacity'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout == "\n"
