"""The fetch stage against real web servers and folders on this machine, good and bad."""

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from digits.fetch import NoMirrorError
from fetch_fixtures import (
    CONTENTS,
    FIRST,
    GOOD,
    NAMES,
    RIGHT,
    UNREACHABLE,
    everything,
    fetch,
    fill,
    raw,
    serve,
    source,
)
from mirror_server import Answer, MirrorServer, send

pytestmark = pytest.mark.usefixtures("no_mirror_of_this_machine")


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
