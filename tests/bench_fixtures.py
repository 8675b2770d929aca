"""A tiny project in which a benchmark of trainings runs."""

from pathlib import Path

import numpy as np
import pytest

from drawn import drawn_set
from training_fixtures import Project, make_project


@pytest.fixture
def bench_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The current folder: 320 training images, 40 for validation, 30 test images."""
    project = make_project(tmp_path, num_train=320, num_val=40)
    images_NHW, labels_N = drawn_set(30, seed=2)
    np.savez(project.folder / "data/mnist/prepared/test.npz", images=images_NHW, labels=labels_N)
    for folder in ("bench", "docs"):
        (project.folder / folder).mkdir()
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.tracking_uri)
    return project
