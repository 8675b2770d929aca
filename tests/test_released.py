"""The model that comes with the project: whole, of the committed run, served until one is made."""

import base64
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import serving_fixtures
from digits import release
from digits.reading.packaged import BUNDLE_FILES, RELEASED, content_tag
from digits.reading.predictor import Predictor
from digits.serving.served import read_samples
from serving_fixtures import ROOT, SAMPLES, Packaged, drawing, serve
from test_documents import from_index


def test_the_released_model_is_whole_and_small_and_has_the_committed_figures() -> None:
    folder = ROOT / RELEASED
    lineage = json.loads((folder / "lineage.json").read_text())
    assert content_tag(folder, lineage) == lineage["tag"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_000_000
    metrics = from_index(f"reports/{lineage['name']}/metrics.json")
    assert metrics, "run `make release`, then commit the reports with it"
    assert lineage["metrics"] == json.loads(metrics)
    selected = json.loads(from_index("reports/selected.json") or "")
    assert [lineage[key] for key in ("name", "run_id")] == [selected["model"], selected["run_id"]]
    assert not lineage["fallback"]
    predictor = Predictor.open(folder)
    samples = read_samples(folder)
    assert {sample["label"] for sample in samples} == set(predictor.classes)
    assert any(sample["digit"] != sample["label"] for sample in samples)
    for sample in samples:  # told of this model, not of another one
        frame_HW = np.asarray(Image.open(io.BytesIO(base64.b64decode(sample["png"]))))
        (answer,) = predictor.answers(frame_HW[None])
        assert answer["digit"] == sample["digit"]
    assert predictor.meta["lineage"]["data_digest"] == lineage["data_digest"]


@pytest.fixture
def fresh(packaged: Packaged, tmp_path: Path) -> Path:
    """A clone that has packaged nothing yet, with a released model."""
    clone = tmp_path / "clone"
    shutil.copytree(packaged.project, clone)
    (clone / RELEASED).mkdir()
    for name in (*BUNDLE_FILES, "lineage.json", "samples.json"):
        shutil.move(clone / "served" / name, clone / RELEASED / name)
    shutil.rmtree(clone / "served")
    return clone


def test_a_fresh_clone_serves_the_released_model_and_says_so(fresh: Path, tmp_path: Path) -> None:
    with serve(Path(sys.executable), cwd=fresh, home=tmp_path / "home") as running:
        assert running.client.get("/model").json()["released"] is True
        assert running.client.get("/samples").json() == {"samples": SAMPLES}
        answer = running.client.post("/predict", files={"image": drawing()}).json()
        assert answer["digit"] in range(10)
        assert "released with the project" in running.log.read_text()


def test_what_is_packaged_is_released_and_a_stand_in_is_not(
    packaged: Packaged, tmp_path: Path
) -> None:
    served, released = tmp_path / "served", tmp_path / "released"
    shutil.copytree(packaged.project / "served", served)
    for _ in range(2):  # there is none yet, and in another's place
        lineage = release.run(served=served, released=released)
        assert {file.name for file in released.iterdir()} == {*release.KEPT}
        assert content_tag(released, lineage) == lineage["tag"]
    lineage["fallback"] = True
    (served / "lineage.json").write_text(json.dumps(lineage))
    with pytest.raises(ValueError, match="learnt from mnist, a stand-in, and is not for others"):
        release.run(served=served, released=released)
    assert not json.loads((released / "lineage.json").read_text())["fallback"]


def test_a_released_model_that_was_changed_is_not_served(fresh: Path, tmp_path: Path) -> None:
    (fresh / RELEASED / "model.json").write_text(
        (fresh / RELEASED / "model.json").read_text().replace("tiny", "other")
    )
    home = tmp_path / "home"
    result = serving_fixtures.run(sys.executable, "-m", "bentoml", "serve", cwd=fresh, home=home)
    assert result.returncode != 0
    assert "released does not match its own digest" in result.stdout + result.stderr
    assert "git checkout released" in result.stdout + result.stderr
