"""A git checkout of the project with a small data set of its own, where the real DVC runs."""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo

from digits import optdigits

ROOT = Path(__file__).parent.parent
NUM_TRAIN, NUM_TEST, VAL_SIZE = 1000, 300, 200
# What a person's own shell may hold must not decide what the checkout does.
FOREIGN = ("MLFLOW_", "DVC_", "BENTOML_", "GIT_", "MNIST_MIRROR", "PYTHONPATH", "HYDRA_")


@dataclass(frozen=True)
class Outcome:
    """What one `dvc repro` or `dvc exp run` did."""

    ran: set[str]
    restored: set[str]  # from DVC's run cache, without running
    output: str
    status: int


class Checkout:
    """The working tree as it is now, copied and committed, with what a stage needs to run."""

    def __init__(self, folder: Path, *, home: Path) -> None:
        self.folder, self.home = folder, home
        kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        self.env = {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
            "PYTHONPATH": str(folder / "src"),
            "BENTOML_HOME": str(home / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "DVC_SITE_CACHE_DIR": str(home / "dvc"),
            "DVC_NO_ANALYTICS": "1",
            **{
                f"GIT_{who}_{what}": "test@example.org"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        for path in _working_tree():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)
        self.command("git", "init", "--quiet", ".")

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            words, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, f"{words}:\n{done.stdout}{done.stderr}"
        return done

    def dvc(self, *words: str, check: bool = True) -> Outcome:
        done = self.command("dvc", *words, check=check)
        output = done.stdout + done.stderr
        return Outcome(
            ran=set(re.findall(r"Running stage '(.+?)'", output)),
            restored=set(re.findall(r"Stage '(.+?)' is cached - skipping run", output)),
            output=output,
            status=done.returncode,
        )

    def changed(self) -> set[str]:
        """The stages that something they use directly has changed for."""
        # Here, since DVC takes longer to start than to look.
        with Repo(self.folder, config={"core": {"site_cache_dir": str(self.home / "dvc")}}) as repo:
            return {stage.rpartition(":")[2] for stage in repo.status()}

    def commit(self) -> None:
        self.command("git", "add", "--all")
        self.command("git", "commit", "--quiet", "--message", "as it is")

    def reset(self) -> None:
        """Everything as it was committed: git's files from git, DVC's from its cache."""
        ran = self.command("git", "diff", "--quiet", "dvc.lock", check=False).returncode != 0
        self.command("git", "reset", "--quiet", "--hard")
        self.command("git", "clean", "--quiet", "--force", "conf", "reports")
        if ran:
            self.dvc("checkout", "--force")

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert old in text, f"{path} has no {old!r}"
        (self.folder / path).write_text(text.replace(old, new, 1))

    def json(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text())

    def yaml(self, path: str) -> Any:
        return yaml.safe_load((self.folder / path).read_text())


def make_checkout(folder: Path, *, home: Path) -> Checkout:
    """A checkout whose params.yaml names a small data set, described by one file of its own.

    Two epochs a model, and no mirror but `$MNIST_MIRROR`, which is not set yet.
    """
    checkout = Checkout(folder, home=home)
    checkout.command("git", "rm", "-r", "--quiet", "--cached", "--ignore-unmatch", "dvc.lock")
    (folder / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(folder / "reports", ignore_errors=True)
    dataset = {
        "name": "small",
        "licence": optdigits.LICENCE,
        "classes": list(range(10)),
        "image_size": 28,
        "num_train": NUM_TRAIN,
        "num_test": NUM_TEST,
        "files": {role: _facts(role, content) for role, content in _idx_files().items()},
        "mirrors": ["$MNIST_MIRROR"],
        "synthetic": {"digits": 60, "nondigits": 60},
    }
    (folder / "conf/data/small.yaml").write_text(yaml.safe_dump(dataset))
    params = checkout.yaml("params.yaml") | {"val_size": VAL_SIZE, "candidates": ["mlp", "cnn"]}
    params["data"] = {"name": "small", "fallback": "optdigits"}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for model in ("mlp", "cnn"):
        path = folder / f"conf/model/{model}.yaml"
        path.write_text(re.sub(r"epochs: \d+", "epochs: 2", path.read_text()))
    checkout.commit()
    return checkout


def fill_mirror(mirror: Path) -> Path:
    """A folder that holds the small data set as a mirror would."""
    for role, content in _idx_files().items():
        (mirror / f"{role}.gz").write_bytes(gzip.compress(content))
    return mirror


@cache
def _idx_files() -> dict[str, bytes]:
    """The first of scikit-learn's digits, as four IDX files by role."""
    files = {}
    for role, content in optdigits.idx_files(size=28).items():
        num = NUM_TRAIN if role.startswith("train") else NUM_TEST
        head, item = (16, 28 * 28) if role.endswith("images") else (8, 1)
        files[role] = content[:4] + num.to_bytes(4, "big") + content[8 : head + num * item]
    return files


def _facts(role: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"name": role, "size_bytes": len(content), "sha256": digest}


def _working_tree() -> Iterable[str]:
    """The files git knows here or would know: neither ignored nor deleted."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for path in sorted({*listed.split("\0")} - {""}) if (ROOT / path).is_file()]
