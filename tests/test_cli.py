"""`digits predict` and `digits summary`, as typed."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from digits import cli, inputs
from digits.commands import main
from digits.package import assemble
from digits.reading.normalize import read_frame
from digits.reading.packaged import content_tag
from digits.reading.predictor import IDENTITY, Predictor
from serving_fixtures import METRICS, SELECTED, drawing, write_bundle


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a packaged model, and two images."""
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle", seed=1)
    lineage = {"name": "tiny", "data_digest": "sha256:0", "metrics": METRICS}
    lineage |= {key: SELECTED[key] for key in ("version", "run_id", "git_commit")}
    assemble(
        bundle=tmp_path / "bundle",
        lineage=lineage,
        samples={},
        details={},
        served=tmp_path / "served",
    )
    (tmp_path / "one.png").write_bytes(drawing())
    (tmp_path / "two.png").write_bytes(drawing(tilt=9, mode="RGBA"))
    return tmp_path


def digits(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_each_file_is_answered_on_a_line_of_its_own(project: Path) -> None:
    result = digits("predict", "one.png", "two.png")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    predictor = Predictor.open(project / "served")
    for line, name in zip(lines, ("one.png", "two.png"), strict=True):
        (answer,) = predictor.answers(read_frame((project / name).read_bytes())[None])
        confidence = f"{answer['confidence']:.1%}".replace("100.0%", ">99.9%")
        assert line.split() == [name, str(answer["digit"]), confidence]


def test_json_is_the_services_own_answer_and_the_files_name(project: Path) -> None:
    result = digits("predict", "--json", "one.png")
    answer = json.loads(result.stdout)
    assert answer.pop("file") == "one.png"
    assert list(answer) == [
        *("digit", "confidence", "probabilities", "accepted", "reason", "row", "model")
    ]
    (expected,) = Predictor.open(project / "served").answers(read_frame(drawing())[None])
    assert {key: answer[key] for key in expected} == expected
    lineage = json.loads((project / "served/lineage.json").read_text())
    assert answer["model"] == {key: lineage[key] for key in IDENTITY}


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_answered(project: Path) -> None:
    (project / "text.txt").write_text("no image")
    (project / "folder").mkdir()
    names = ("gone.png", "text.txt", "folder", "one.png")
    result = digits("predict", *names)
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["one.png"]
    complaints = result.stderr.splitlines()
    assert [line.partition(":")[0] for line in complaints] == ["folder", "gone.png", "text.txt"]
    assert "no image is in this folder" in complaints[0]
    assert "No such file" in complaints[1]
    assert "send a PNG, JPEG" in complaints[2]


def test_a_file_whose_name_is_not_utf_8_is_read_like_any_other(project: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (project / name).write_bytes(drawing())
    result = digits("predict", name, os.fsdecode(b"gone\xe9.png"), "one.png")
    assert result.exit_code == 1
    first, second = (line.split() for line in result.stdout.splitlines())
    assert (first[0], second[0]) == ("caf\N{REPLACEMENT CHARACTER}.png", "one.png")
    assert first[1:] == second[1:]
    assert result.stderr == "gone\N{REPLACEMENT CHARACTER}.png: No such file or directory\n"
    for nothing in (b"no*\xe9.png", b"http://caf\xe9.png"):
        assert digits("predict", os.fsdecode(nothing), "one.png").exit_code == 1
    answer = json.loads(digits("predict", "--json", name).stdout)
    assert answer["file"] == name  # a program gets the name by which the file can be opened
    result = digits("predict", "--model", os.fsdecode(b"gone\xe9"), "one.png")
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)


def test_a_folder_and_a_pattern_stand_for_their_images(project: Path) -> None:
    (project / "scans/deep").mkdir(parents=True)
    for name in ("scans/b.PNG", "scans/deep/a.jpeg", "scans/[odd].png"):
        (project / name).write_bytes(drawing())
    (project / "scans/notes.txt").write_text("no image, and not asked for")
    assert names_answered("predict", "scans") == [
        "scans/[odd].png",
        "scans/b.PNG",
        "scans/deep/a.jpeg",
    ]
    assert names_answered("predict", "scans/*.PNG", "one.png") == ["scans/b.PNG", "one.png"]
    assert names_answered("predict", "scans/**/*.jpeg") == ["scans/deep/a.jpeg"]
    assert names_answered("predict", "scans/[odd].png") == ["scans/[odd].png"]


def names_answered(*words: str) -> list[str]:
    result = digits(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    return [line.split()[0] for line in result.stdout.splitlines()]


def test_an_image_may_come_by_the_standard_input(project: Path) -> None:
    piped = CliRunner().invoke(main, ["predict", "--json", "-"], input=drawing())
    assert (piped.exit_code, json.loads(piped.stdout)["file"]) == (0, "-")
    named = json.loads(digits("predict", "--json", "one.png").stdout)
    assert json.loads(piped.stdout)["probabilities"] == named["probabilities"]
    nothing = CliRunner().invoke(main, ["predict", "-"], input=b"")
    assert nothing.exit_code == 1
    assert "the image is empty" in nothing.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("https://example.org/7.png", "an address; download the image first, nothing is fetched"),
        ("HTTP://example.org", "an address; download the image first, nothing is fetched"),
        ("s3://bucket/7.png", "an address; download the image first, nothing is fetched"),
        ("*.tiff", "no file matches"),
        (".", None),
    ],
)
def test_what_stands_for_no_image_is_said(project: Path, name: str, said: str | None) -> None:
    result = digits("predict", name, "one.png")
    assert result.stdout.splitlines()[-1].startswith("one.png")
    assert result.exit_code == (1 if said else 0)
    assert result.stderr == (f"{name}: {said}\n" if said else "")


def test_a_stand_in_is_warned_of(project: Path) -> None:
    path = project / "served/lineage.json"
    lineage = json.loads(path.read_text()) | {"fallback": True, "dataset": "optdigits"}
    path.write_text(json.dumps(lineage | {"tag": content_tag(project / "served", lineage)}))
    result = digits("predict", "one.png")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: this model was trained on optdigits, a stand-in")


def model_of(folder: str) -> dict[str, Any]:
    result = digits("predict", "--json", "--model", folder, "one.png")
    assert result.exit_code == 0, result.output
    model: dict[str, Any] = json.loads(result.stdout)["model"]
    assert tuple(model) == IDENTITY
    return model


def test_a_bundle_is_named_by_what_is_known_of_it(project: Path) -> None:
    meta = json.loads((project / "bundle/model.json").read_text())
    known = {"name": meta["name"], "data_digest": meta["lineage"]["data_digest"]}
    assert None not in known.values()
    (project / "bundle").rename(project / "copied")
    assert model_of("copied") == dict.fromkeys(IDENTITY) | known

    for folder in ("models/tiny", "champion"):
        (project / folder).mkdir(parents=True)
        shutil.copytree("copied", f"{folder}/bundle")
    trained = {"run_id": "0123", "git_commit": "abc"}
    Path("models/tiny/run.json").write_text(json.dumps(trained | {"train_s": 1}))
    assert model_of("models/tiny/bundle") == {"version": None, **known, **trained}
    crowned = {"name": "tiny", "version": 3, "run_id": "4567", "git_commit": "def"}
    Path("champion/champion.json").write_text(json.dumps(crowned))
    assert model_of("champion/bundle") == known | crowned
    assert model_of("served")["run_id"] == SELECTED["run_id"]


@pytest.mark.parametrize(
    ("folder", "there"),
    [("models/tniy/bundle", "models/tiny/bundle"), ("models/tiny", "models/tiny/bundle")],
)
def test_a_folder_that_is_no_bundle_is_answered_with_the_nearest(
    project: Path, folder: str, there: str
) -> None:
    (project / "models/tiny").mkdir(parents=True)
    (project / "bundle").rename(project / "models/tiny/bundle")
    result = digits("predict", "--model", folder, "one.png")
    assert (result.exit_code, result.stdout) == (2, "")
    said = f"Error: {folder} is no bundle, it has no model.json; a bundle is in {there}\n"
    assert result.stderr == said


def test_nothing_packaged_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = digits("predict", "one.png")
    assert elsewhere.exit_code == 2
    assert elsewhere.stderr == (
        f"Error: {tmp_path} is not the project's folder, it has no params.yaml; go there, or name "
        "the folder of a bundle by --model\n"
    )
    Path("params.yaml").touch()
    result = digits("predict", "one.png")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: served/model.json is missing: served is no bundle; run `dvc repro`\n"
    )


def test_a_damaged_package_is_said_in_one_sentence(project: Path) -> None:
    (project / "served/lineage.json").write_text("{")
    result = digits("predict", "one.png")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "served/lineage.json is damaged" in result.stderr


def test_a_package_that_was_changed_is_not_asked(project: Path) -> None:
    write_bundle(project / "served", seed=2)
    result = digits("predict", "one.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "served does not match its own digest" in result.stderr
    assert "dvc repro -sf package" in result.stderr


def test_every_command_says_what_it_does() -> None:
    for words in (("--help",), ("predict", "-h"), ("runs", "-h"), ("summary", "-h")):
        result = digits(*words)
        assert result.exit_code == 0
        assert "Usage:" in result.stdout
    assert "No such command" in digits("predcit").stderr


def test_a_pattern_takes_folders_too_and_each_image_once(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    for name in ("one.png", "in/two.png", "in/deep/three.png", "in/notes.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in", target_is_directory=True)
    files, complaints = inputs.expand([str(tmp_path / "*")])
    assert [file.name for file in files] == ["three.png", "two.png", "one.png"]
    again, _ = inputs.expand([str(tmp_path / "**/*.png")])
    assert sorted(file.name for file in again) == ["one.png", "three.png", "two.png"]
    assert not complaints
    assert inputs.expand(["-", "-"])[1] == ["-: named twice; the standard input is read once"]


def test_a_row_is_written_digit_by_digit() -> None:
    row = [{"digit": 1, "accepted": True}, {"digit": 7, "accepted": False}]
    answer = {"digit": 1, "confidence": 0.6, "accepted": False, "reason": "several", "row": row}
    line = cli._line(Path("a.png"), answer, width=5)
    assert line == "a.png  1 7?  a row, read one by one"
