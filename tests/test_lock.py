"""Two pipelines in one checkout: the second says who is at work, and stops."""

import os
import subprocess
import sys
import time
from pathlib import Path

from training_fixtures import ROOT

PIPELINE = """
stages:
  train:
    cmd: touch started; while [ ! -e go ]; do sleep 0.05; done; echo learnt > weights
    outs: [weights]
"""
PATIENCE_S = 60


def test_a_second_pipeline_says_which_process_it_would_disturb_and_stops(tmp_path: Path) -> None:
    environment = Path(sys.prefix)
    env = {
        key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))
    }
    env |= {
        "PATH": f"{environment / 'bin'}{os.pathsep}{env['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
    }
    here = tmp_path / "checkout"
    here.mkdir()
    (here / "dvc.yaml").write_text(PIPELINE)
    (here / "Makefile").write_text((ROOT / "Makefile").read_text())
    # Set up already, as far as make can tell.
    (here / ".venv").symlink_to(environment)
    for name in ("requirements.lock", "pyproject.toml"):
        (here / name).touch()
        os.utime(here / name, (0, 0))
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], cwd=here, env=env, check=True)

    first = subprocess.Popen(["dvc", "repro", "--quiet"], cwd=here, env=env)
    try:
        until_s = time.monotonic() + PATIENCE_S
        while not (here / "started").exists():
            assert time.monotonic() < until_s, "the first pipeline did not start"
            time.sleep(0.05)
        second = subprocess.run(
            ["make", "repro"], cwd=here, env=env, capture_output=True, text=True, check=False
        )
    finally:
        (here / "go").touch()
        assert first.wait(PATIENCE_S) == 0
    said = second.stdout + second.stderr
    assert second.returncode != 0
    assert "weights' is busy, it is being blocked by:" in said
    assert f"(PID {first.pid}): " in said
    assert "Traceback" not in said
    assert (here / "weights").read_text() == "learnt\n"
