"""A tiny packaged project, the Bento made of it, and the service that runs the Bento elsewhere."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from digits.reading.predictor import FORMAT

ROOT = Path(__file__).parent.parent
METRICS = {"accuracy": 0.875, "num_images": 16}
# The smallest PNG there is, as two test images: one read right and one read wrong.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
SAMPLES = [
    {"label": 3, "digit": 3, "png": PIXEL},
    {"label": 4, "digit": 9, "png": PIXEL},
]
RUN = {"run_id": "0123456789abcdef", "git_commit": "fedcba9876543210"}
SELECTED = {
    "model": "tiny",
    "version": 3,
    **RUN,
    "reason": "the better one",
    "candidates": [{"name": "small"}, {"name": "tiny"}],
}
# The other candidate, which reads smaller frames.
SMALL_SIZE = 8
SMALL_RUN = {"run_id": "02468ace", "git_commit": "fdb97531"}


def write_bundle(
    folder: Path,
    *,
    seed: int,
    size: int = 28,
    name: str = "tiny",
    weights: np.ndarray | None = None,
    dataset: str = "mnist",
) -> None:
    """A bundle with a linear model: uint8 frames in, 10 logits out; random weights if none."""
    if weights is None:
        weights = np.random.default_rng(seed).normal(size=(size**2, 10)).astype(np.float32) / 2000
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["frames"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["floats", "shape"], ["rows"]),
            helper.make_node("Gemm", ["rows", "weights"], ["logits"]),
        ],
        name,
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["B", size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 10])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([-1, size**2]), "shape"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    lineage = {"data_digest": f"sha256:{seed:064x}", "dataset": dataset, "fallback": False}
    meta = {
        "format": FORMAT,
        "name": name,
        "classes": list(range(10)),
        "input": {"size": size, "mean": 0.13, "std": 0.31},
        "calibration": {"temperature": 0.06},
        "rejection": {"threshold": 0.0, "refused": 0.0},
        "validation": {"accuracy": 0.9, "num": 10},
        "lineage": {**lineage, "seed": seed, "config_digest": "", "packages": {}},
    }
    (folder / "model.json").write_text(json.dumps(meta))


DETAILS = {"per_class": {}, "corrupted_accuracy": {"fog": 0.5}}


def make_project(folder: Path, *, seed: int = 0) -> Path:
    """A project as it is before `package`: the code, a bundle, its metrics, and the selection."""
    add_code(folder)
    write_bundle(folder / "models/tiny/bundle", seed=seed)
    write_bundle(folder / "models/small/bundle", seed=seed, size=SMALL_SIZE, name="small")
    (folder / "models/small/run.json").write_text(json.dumps(SMALL_RUN))
    shutil.copytree(folder / "models/tiny", folder / "champion")
    (folder / "models/tiny/run.json").write_text(json.dumps(RUN))
    crowned = {"name": "tiny", "version": SELECTED["version"], **RUN, "metrics": METRICS}
    (folder / "champion/champion.json").write_text(json.dumps(crowned))
    (folder / "champion/details.json").write_text(json.dumps(DETAILS))
    (folder / "champion/samples.json").write_text(json.dumps({"samples": SAMPLES}))
    (folder / "reports").mkdir()
    (folder / "reports/selected.json").write_text(json.dumps(SELECTED))
    return folder


def add_code(folder: Path) -> None:
    """Put what a Bento is built from into a project's folder."""
    for path in ("bentofile.yaml", "README.md", "params.yaml", "src/digits"):
        source, target = ROOT / path, folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)


def environment(home: Path) -> dict[str, str]:
    """The environment with a BentoML home of its own, and nothing that helps to find `digits`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return {**kept, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}


def run(*command: str | Path, cwd: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def package(project: Path, *, home: Path) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "digits.package", cwd=project, home=home)


def make_interpreter(folder: Path, requirements: Path) -> Path:
    """A Python that can import what the Bento requires and nothing else: no digits, no torch."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site_packages = next((folder / "lib").glob("python*/site-packages"))
    for line in requirements.read_text().split():
        installed = metadata.distribution(line.partition("==")[0])
        assert installed.files is not None
        for name in {file.parts[0] for file in installed.files} - {"..", "__pycache__"}:
            link = site_packages / name
            if not link.exists():
                link.symlink_to(Path(str(installed.locate_file(name))))
    return folder / "bin" / "python"


def drawing(*, tilt: int = 0, mode: str = "L", file_format: str = "PNG") -> bytes:
    """A dark stroke on light paper, as the bytes of an image file."""
    image = Image.new("L", (90, 120), 255)
    ImageDraw.Draw(image).line([(30 + tilt, 15), (60 - tilt, 105)], fill=0, width=9)
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, format=file_format)
    return buffer.getvalue()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    port: int
    log: Path
    start_s: float  # from the command until it was ready
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def worker_pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


@contextmanager
def serve(
    python: Path,
    *arguments: str,
    cwd: Path,
    home: Path,
    port: int | None = None,
    until: str = "/readyz",
) -> Iterator[Service]:
    """`bentoml serve ARGUMENTS` in its own process; it must stop when asked, uncomplaining."""
    port = port or free_port()
    log = cwd / f"serve-{port}.log"
    command = [str(python), "-m", "bentoml", "serve", *arguments, "--port", str(port)]
    start = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(home),
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    try:
        while True:
            if process.poll() is not None or time.monotonic() - start > 60:
                pytest.fail(f"the service did not start:\n{log.read_text()}")
            try:
                if httpx.get(f"http://127.0.0.1:{port}{until}").is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        service = Service(process, port, log, start_s=time.monotonic() - start)
        with service.client:
            yield service
        process.terminate()
        assert process.wait(timeout=20) == 0, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the workers too, where a test has failed
        process.wait()


@dataclass(frozen=True)
class Packaged:
    """A project after `package`, and the BentoML home it was packaged into."""

    project: Path
    home: Path
    output: str

    @property
    def bento(self) -> Path:
        (bento,) = (self.home / "bentos" / "digits").glob("*/bento.yaml")
        return bento.parent

    @property
    def bundle(self) -> Path:
        return self.project / "models/tiny/bundle"


@pytest.fixture(scope="session")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    project = make_project(tmp_path_factory.mktemp("project"))
    home = tmp_path_factory.mktemp("home")
    result = package(project, home=home)
    assert result.returncode == 0, result.stderr
    return Packaged(project=project, home=home, output=result.stdout)


@pytest.fixture(scope="session")
def bento_python(packaged: Packaged, tmp_path_factory: pytest.TempPathFactory) -> Path:
    requirements = packaged.bento / "env" / "python" / "requirements.txt"
    return make_interpreter(tmp_path_factory.mktemp("bento-python"), requirements)


@pytest.fixture(scope="session")
def service(
    packaged: Packaged, bento_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The Bento, exported to a file, imported into an empty home, served outside the project."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    home = tmp_path_factory.mktemp("clean-home")
    exported = elsewhere / "digits.bento"
    bentoml = (sys.executable, "-m", "bentoml")
    result = run(*bentoml, "export", "digits:latest", exported, cwd=elsewhere, home=packaged.home)
    assert result.returncode == 0, result.stderr
    result = run(bento_python, "-m", "bentoml", "import", exported, cwd=elsewhere, home=home)
    assert result.returncode == 0, result.stderr
    with serve(bento_python, "digits:latest", cwd=elsewhere, home=home) as running:
        yield running
