"""deploy/ as it is written down: what a team's server is made of."""

import re
import subprocess
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from team_fixtures import DEPLOY, VARIABLE
from training_fixtures import ROOT


def test_every_variable_of_the_compose_file_is_in_the_example_and_no_other() -> None:
    used = set(VARIABLE.findall((DEPLOY / "compose.yaml").read_text()))
    example = (DEPLOY / ".env.example").read_text().splitlines()
    listed = [line.partition("=")[0] for line in example if line and not line.startswith("#")]
    assert used == {*listed}
    ignored = subprocess.run(["git", "check-ignore", "-q", DEPLOY / ".env"], cwd=ROOT)
    assert ignored.returncode == 0


def test_every_image_is_pinned_and_what_keeps_running_is_watched(compose: dict[str, Any]) -> None:
    services = compose["services"]
    froms = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    built = {service["image"] for service in services.values() if "build" in service}
    for image in {service["image"] for service in services.values()} - built | {*froms}:
        assert re.search(r":\D*\d+\.\d+|:RELEASE\.\d{4}-", image), image
    once = {"buckets", "backup"}
    for name in services.keys() - once:
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["healthcheck"]["test"][0] == "CMD"
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in once else "service_healthy"
            assert how == {"condition": expected}
        for port in service.get("ports", ()):
            assert port.startswith("${ADDRESS}:")


def test_what_one_leaves_out_for_an_s3_of_ones_own_is_all_that_waits_for_it(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    without = {"s3", "buckets"}
    waiting = {name for name in services if without & services[name].get("depends_on", {}).keys()}
    text = (ROOT / "docs/operations.md").read_text()
    (told,) = re.findall(r"leave out the services (.+?) the lines that wait", text, re.DOTALL)
    assert {*re.findall(r"`(\w+)`", told)} == without | waiting


def test_pg_dump_is_of_the_version_of_the_database(compose: dict[str, Any]) -> None:
    (client,) = re.findall(r"postgresql-client-(\d+)", (DEPLOY / "Dockerfile").read_text())
    assert compose["services"]["postgres"]["image"].startswith(f"postgres:{client}.")


def test_the_server_has_the_packages_of_the_project() -> None:
    def pinned(lock: Path) -> dict[str, str]:
        lines = [line for line in lock.read_text().splitlines() if re.match(r"\w", line)]
        parts = [Requirement(line.rstrip("\\ ")) for line in lines]
        return {part.name: str(part.specifier) for part in parts}

    project, server = pinned(ROOT / "requirements.lock"), pinned(DEPLOY / "requirements.lock")
    assert {"mlflow", "boto3", "psycopg-binary"} <= server.keys()
    assert server.items() <= project.items()
    assert "torch" not in server
    assert "://" not in (DEPLOY / "requirements.lock").read_text()
