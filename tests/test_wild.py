"""Measuring on a labelled folder, with a service that runs."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

import wild
from serving_fixtures import ROOT, Packaged, Service, drawing


def answer(digit: int, *, accepted: bool = True) -> dict[str, object]:
    return {"digit": digit, "accepted": accepted, "confidence": 0.5}


def test_digits_count_as_they_are_answered_and_others_by_whether_they_are_accepted() -> None:
    answers = [
        answer(3),
        answer(4, accepted=False),
        answer(9),
        answer(1),
        answer(1, accepted=False),
    ]
    scores = wild.score([3, 4, 4, -1, -1], answers)
    assert scores["num_digits"] == 3
    assert scores["accuracy"] == pytest.approx(2 / 3, abs=1e-5)
    assert scores["refused"] == pytest.approx(1 / 3, abs=1e-5)
    assert scores["mistakes"] == {"4 read as 9": 1}
    assert (scores["num_others"], scores["others_accepted"]) == (2, 0.5)


def test_a_folder_is_measured_through_http(
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench").mkdir()
    folder = tmp_path / "mine"
    (folder / "img").mkdir(parents=True)
    (folder / "img/one.png").write_bytes(drawing())
    (folder / "img/two.jpg").write_bytes(drawing(tilt=9, file_format="JPEG"))
    (folder / "img/broken.png").write_bytes(b"no image")
    read = service.client.post("/predict", files={"image": drawing()}).json()["digit"]
    (folder / "labels.csv").write_text(
        f"file,label\nimg/one.png,{read}\nimg/one.png,{(read + 1) % 10}\nimg/broken.png,{read}\n"
        "img/two.jpg,-1\n"
    )
    # What is damaged is no mistake of the model's, and no success either.
    with pytest.raises(SystemExit, match=rf"not read: {folder}/img/broken.png: .* not an image"):
        wild.main([str(folder), "--url", str(service.client.base_url)])
    content = json.loads(Path("outputs/wild.json").read_text())
    assert content["model"]["name"] == "tiny"
    scores = content["sets"]["mine"]
    assert (scores["num_digits"], scores["accuracy"], scores["refused"]) == (2, 0.5, 0.0)
    assert (scores["num_others"], scores["others_accepted"]) == (1, 1.0)
    assert Path("outputs/wild.png").stat().st_size > 0
    said = capsys.readouterr().out
    assert f"mine: {(read + 1) % 10} read as {read} (1)" in said
    assert (
        "the mistakes: outputs/wild.png\nthe figures: outputs/wild.json, of tiny, version 3" in said
    )


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (None, "has no labelled images; give a folder with a labels.csv"),
        ("file,label\n", "labels.csv name no image: the table is empty"),
        ("image,label\na.png,1\n", "has no column 'file'; it needs `file` and `label`"),
        ("file,label\na.png,seven\n", "line 2: 'a.png' has the label 'seven'; give a digit, or -1"),
    ],
)
def test_a_folder_without_labels_is_said_in_one_sentence(
    tmp_path: Path, rows: str | None, sentence: str
) -> None:
    if rows:
        (tmp_path / "labels.csv").write_text(rows)
    with pytest.raises(SystemExit, match=sentence):
        wild.main([str(tmp_path), "--url", "http://127.0.0.1:9"])


def test_a_folder_that_is_not_there_is_said_not_to_be(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nowhere is no folder; give one with labelled images"):
        wild.main([str(tmp_path / "nowhere"), "--url", "http://127.0.0.1:9"])


def test_without_a_folder_and_without_the_usual_one_a_folder_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"no folder was given, .* make wild FOLDER=scans"):
        wild.main([])


def test_a_service_is_started_where_none_is_named_and_a_file_that_is_gone_is_named(
    packaged: Packaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(packaged.project)
    (packaged.project / "bench").mkdir(exist_ok=True)
    folder = packaged.project / "mine"
    folder.mkdir()
    (folder / "one.png").write_bytes(drawing())
    (folder / "labels.csv").write_text("file,label\ngone.png,1\none.png,1\n")
    monkeypatch.setitem(os.environ, "BENTOML_HOME", str(packaged.home))
    monkeypatch.setenv("DIGITS_TOKENS", "first,second")
    with pytest.raises(SystemExit, match=rf"not read: {folder}/gone.png: No such file") as ended:
        wild.main([str(folder)])
    assert ended.value.code not in (None, 0)
    content = json.loads(Path("outputs/wild.json").read_text())
    assert content["sets"]["mine"]["num_digits"] == 1
    assert not Path("bench/wild.json").exists()  # the committed figures are of their own folder


def test_a_folder_with_a_space_in_its_name_is_one_folder() -> None:
    # A surrounding make would lend its flags.
    environ = {key: os.environ[key] for key in os.environ if not key.startswith(("MAKE", "MFLAGS"))}
    for given, passed in ((["FOLDER=my digits"], ["my digits"]), ([], [])):
        command = ["make", "--dry-run", "wild", *given]
        said = subprocess.check_output(command, cwd=ROOT, env=environ, text=True)
        assert shlex.split(said.splitlines()[-1]) == ["python", "bench/wild.py", *passed]
