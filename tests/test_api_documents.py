"""docs/api.md is run against the service; the dashboard asks for metrics that are there."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from digits.reading.jpeg import MOST_SCANS
from digits.reading.normalize import MAX_PIXELS
from digits.serving import limits
from serving_fixtures import Service, drawing
from test_documents import ROOT, blocks, text
from test_open_image import png_header

ADDRESS = "127.0.0.1:3000"
CURLS = [
    line for body in blocks("docs/api.md", "sh") for line in body.splitlines() if "curl" in line
]


@pytest.mark.parametrize("line", CURLS)
def test_each_curl_is_answered(service: Service, line: str) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    command = shlex.split(line.replace(ADDRESS, f"127.0.0.1:{service.port}"))
    answered = subprocess.run(
        [*command, "--silent", "--show-error", "--fail-with-body"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answered.returncode == 0, answered.stdout + answered.stderr
    if "/predict" in line:
        answer = json.loads(answered.stdout)
        assert ("frame" in answer) == ("frame=true" in line)
        assert len(answer.get("predictions", [answer])) == line.count("@docs")


@pytest.mark.parametrize("body", blocks("docs/api.md", "python"))
def test_each_program_runs(service: Service, body: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(body.replace(ADDRESS, f"127.0.0.1:{service.port}"))
    ran = subprocess.run(
        [sys.executable, program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


REFUSALS = dict(re.findall(r"^\| (\d+) \| (.*) \|$", text("docs/api.md"), re.M))
# Of each status, the numbers that its line names.
LIMITS = {
    "400": [limits.MAX_IMAGES],
    "408": [int(limits.RECEIVE_S), limits.RECEIVE_BYTES_PER_S // 1000],
    "413": [
        limits.MAX_BODY_BYTES // 2**20,
        limits.MAX_FRAMES,
        limits.MAX_REQUEST_PIXELS // 10**6,
    ],
    "422": [MAX_PIXELS // 10**6, MOST_SCANS],
    "503": [limits.MAX_CONCURRENT],
    "504": [int(limits.ANSWER_S)],
}


def test_the_refusals_documented_are_those_that_the_service_describes(service: Service) -> None:
    described = {
        status
        for operations in service.client.get("/docs.json").json()["paths"].values()
        for operation in operations.values()
        for status in operation["responses"]
    }
    # No operation is described for a method that its route does not take.
    assert REFUSALS.keys() - {"405"} == described - {"200"}


@pytest.mark.parametrize("status", REFUSALS)
def test_a_documented_refusal_names_the_limits_that_there_are(status: str) -> None:
    numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", REFUSALS[status])]
    assert numbers == LIMITS.get(status, [])


def one_image_too_many() -> dict[str, Any]:
    return {"files": [("images", drawing())] * (limits.MAX_IMAGES + 1)}


OCTETS = {"headers": {"Content-Type": "application/octet-stream"}}
# Tokens, slowness and crowds need a service of their own: test_access, test_refusals, test_guard.
PROVOKED: list[tuple[str, str, str, Any]] = [
    ("400", "POST", "/predict", lambda: {"files": {"file": drawing()}}),
    ("400", "POST", "/predict_batch", one_image_too_many),
    ("400", "POST", "/classify", lambda: {"content": bytes(785), **OCTETS}),
    ("404", "GET", "/nothing", dict),
    ("404", "POST", "/predict?model=nobody", lambda: {"files": {"image": drawing()}}),
    ("405", "GET", "/predict", dict),
    ("413", "POST", "/predict", lambda: {"files": {"image": bytes(limits.MAX_BODY_BYTES)}}),
    ("413", "POST", "/classify", lambda: {"content": bytes(784 * 4097), **OCTETS}),
    ("415", "POST", "/predict", lambda: {"json": {}}),
    ("422", "POST", "/predict", lambda: {"files": {"image": b"hello"}}),
    ("422", "POST", "/predict", lambda: {"files": {"image": png_header(7_100, 7_100)}}),
]


@pytest.mark.parametrize(("status", "method", "path", "request_of"), PROVOKED)
def test_the_service_refuses_as_it_is_documented(
    service: Service, status: str, method: str, path: str, request_of: Any
) -> None:
    assert status in REFUSALS
    response = service.client.request(method, path, **request_of())
    assert response.status_code == int(status)
    assert response.json().keys() == {"error"}


def test_the_dashboard_asks_for_metrics_that_the_service_has(service: Service) -> None:
    files = {"image": (ROOT / "docs/seven.jpg").read_bytes()}
    service.client.post("/predict", files=files).raise_for_status()
    exposed = {
        line.split("{")[0].split(" ")[0]
        for line in service.client.get("/metrics").text.splitlines()
    }
    dashboard = json.loads((ROOT / "docs/grafana.json").read_text())
    questions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {
        name for question in questions for name in re.findall(r"(?:bentoml|digits)_\w+", question)
    }
    assert len(asked) >= 6
    assert asked <= exposed
