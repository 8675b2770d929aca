"""docs/api.md is run against the service; the dashboard asks for metrics that are there."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving_fixtures import Service
from test_documents import ROOT, blocks

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
