"""The fetch stage as a command: what it reads and says, and how it ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from digits.fetch import NoMirrorError
from digits.mirrors import DiskError
from fetch_fixtures import (
    FIRST,
    GOOD,
    NAMES,
    RIGHT,
    UNREACHABLE,
    fetch,
    fill,
    parsed,
    raw,
    serve,
    tiny_dataset,
)
from mirror_server import MirrorServer

pytestmark = pytest.mark.usefixtures("no_mirror_of_this_machine")
ROOT = Path(__file__).parent.parent
GATE = yaml.safe_load((ROOT / "params.yaml").read_text())["gate"]


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


def test_an_error_is_one_line_and_status_one_and_a_mistake_status_two(tmp_path: Path) -> None:
    root = project(tmp_path / "project", "gone", "also/gone")
    done = command(root)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("digits.fetch: tiny could not be fetched: gone: there is no such folder")
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("name: tiny", "name: tniy"))
    done = command(root)
    assert done.returncode == 2
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
