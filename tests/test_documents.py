"""What the documents say is so: figures, commands, paths, and the lines meant to be typed."""

import ast
import functools
import importlib
import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest
import yaml

from digits import commands, configuration, settings
from digits.reading.predictor import IDENTITY
from digits.serving import openapi

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
)
# What a reader makes, and what the pipeline or BentoML makes without .gitignore having to know.
EXAMPLES = {
    "conf/data/mine.yaml",
    "conf/model/NAME.yaml",
    "conf/model/tiny_slow.yaml",
    "mine/",
    "digits.bento",
}
SUFFIXES = (".py", ".yaml", ".md", ".json", ".toml", ".lock", ".png", ".jpg", ".db", ".onnx")
# Written in parts, so that this file does not name what it looks for.
INDEX_HOSTS = [f"{host}.org" for host in ("pypi", "files.pythonhosted", "download.pytorch")]
INDEX_HOSTS += ["pypi.nvidia" + ".com"]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path: str, language: str) -> list[str]:
    return [body for name, body in FENCED.findall(text(path)) if name == language]


def code_lines(path: str) -> Iterator[str]:
    """Every line to be typed, and every piece of code within a sentence."""
    for body in blocks(path, "sh"):
        for line in body.splitlines():
            yield line.partition(" #")[0].strip()
    yield from INLINE.findall(FENCED.sub("", text(path)))


def named(pattern: str) -> dict[str, str]:
    """What the pattern's group finds in the documents' code → the document."""
    return {
        found: path
        for path in DOCUMENTS
        for line in code_lines(path)
        for found in re.findall(pattern, line)
    }


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


@functools.cache
def tracked() -> tuple[str, ...]:
    """The files in git, and those that git would add."""
    listed = git("ls-files", "--cached", "--others", "--exclude-standard")
    if listed.returncode:
        pytest.skip("not a git checkout: which files belong to the project is not known")
    return tuple(name for name in listed.stdout.splitlines() if (ROOT / name).is_file())


def make_targets() -> set[str]:
    (line,) = re.findall(r"^\.PHONY: (.*)$", text("Makefile"), re.MULTILINE)
    return set(line.split())


def stage_commands() -> dict[str, str]:
    return {
        name: stage["cmd"] for name, stage in yaml.safe_load(text("dvc.yaml"))["stages"].items()
    }


def from_index(path: str) -> str | None:
    """A file as git has it, committed or about to be."""
    shown = git("show", f":{path}")
    return None if shown.returncode else shown.stdout


@pytest.fixture
def readme_results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """bench/readme_results.py, in the project's root."""
    monkeypatch.chdir(ROOT)
    return importlib.import_module("readme_results")


@pytest.mark.parametrize(
    ("document", "command"), [("README.md", "readme_results"), ("docs/model-card.md", "model_card")]
)
def test_a_document_has_the_figures_of_the_reports(
    readme_results: ModuleType, document: str, command: str
) -> None:
    written = text(document)
    accepted = []
    # Whoever ran the pipeline has figures of their own in reports/: then those in git are meant.
    for read in (readme_results.from_folder, from_index):
        try:
            accepted.append(importlib.import_module(command).rewrite(written, read))
        except ValueError:
            continue  # reports/ is not there, or not in git
    assert accepted, "the reports are neither in reports/ nor in git"
    assert written in accepted, f"run `python bench/{command}.py`"


def test_another_accuracy_would_change_the_readme(readme_results: ModuleType) -> None:
    def worse(path: str) -> str | None:
        content = readme_results.from_folder(path)
        if content and path.endswith("metrics.json"):
            content = json.dumps({**json.loads(content), "accuracy": 0.1234})
        return content

    assert "12.34%" in readme_results.rewrite(text("README.md"), worse)


def test_accuracies_stand_in_the_readme_between_the_markers_alone() -> None:
    outside = re.sub(
        r"<!-- results -->.*?<!-- /results -->", "", text("README.md"), flags=re.DOTALL
    )
    assert re.findall(r"\d\d\.\d+ ?%", outside) == []


def test_every_make_target_named_exists_and_the_readme_names_each() -> None:
    assert named(r"(?:^|\s)make ([a-z-]+)").keys() <= make_targets()
    in_readme = {t for line in code_lines("README.md") for t in re.findall(r"make ([a-z-]+)", line)}
    assert make_targets() == in_readme


def test_make_help_lists_every_target() -> None:
    # A surrounding make would lend its flags.
    environ = {key: os.environ[key] for key in os.environ if not key.startswith(("MAKE", "MFLAGS"))}
    listed = subprocess.check_output(["make", "help"], cwd=ROOT, env=environ, text=True)
    lines = dict(re.findall(r"^  make (\S+) +(\S.*)$", listed, re.MULTILINE))
    assert lines.keys() == make_targets()


def test_every_digits_command_named_exists_and_the_readme_names_each() -> None:
    assert named(r"(?:^|\s)digits ([a-z]+)").keys() <= commands.main.commands.keys()
    in_readme = [re.findall(r"^digits ([a-z]+)", line) for line in code_lines("README.md")]
    assert commands.main.commands.keys() == {command for found in in_readme for command in found}


def test_every_module_named_to_be_run_has_a_main() -> None:
    for module in named(r"python -m (digits\.\w+)"):
        source = ROOT / "src" / f"{module.replace('.', '/')}.py"
        assert "def main(" in source.read_text(encoding="utf-8"), module


def test_every_stage_named_is_in_the_pipeline() -> None:
    assert named(r"dvc repro (?:-f )?([a-z]+)").keys() <= stage_commands().keys()


def test_every_training_named_composes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = named(r"python -m digits\.train (?:-m )?(\S+=.*)")
    assert lines
    for line in lines:
        configuration.compose([first_of(word) for word in shlex.split(line)])


def first_of(word: str) -> str:
    """Of what is swept or searched, the first value."""
    key, _, value = word.partition("=")
    return f"{key}={re.sub(r'^(?:tag|log|interval|range|,|[(])+', '', value).partition(',')[0]}"


def test_every_value_that_an_experiment_sets_is_there_to_set() -> None:
    settings_named = named(r"-S '?(\S+=[^\s']+)")
    assert settings_named
    for setting in settings_named:
        path, _, key = setting.partition("=")[0].rpartition(":")
        value = yaml.safe_load(text(path or "params.yaml"))
        for part in key.split("."):
            value = value[part]


def test_every_path_named_exists_or_is_made_by_the_pipeline() -> None:
    sources = "".join(text(name) for name in tracked() if name.startswith("src/digits/"))
    missing = []
    for document in DOCUMENTS:
        for line in code_lines(document):
            for path in re.findall(r"[\w.~$/*-]+", re.sub(r"\w+://\S+", "", line)):
                known = path in EXAMPLES or path.startswith((*"/~$-.", "hydra/"))
                if known or not ("/" in path or path.endswith(SUFFIXES)):
                    continue
                made = git("check-ignore", "--quiet", path).returncode == 0
                bare = "/" not in path and path in sources
                if not (any(ROOT.glob(path)) or made or bare or path == "bench/*.json"):
                    missing.append(f"{document}: {path}")
    assert missing == []


def test_every_message_in_what_to_do_when_something_fails_is_one_of_ours() -> None:
    ours = set()
    for path in ROOT.glob("src/digits/**/*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        docstrings = [node.value for node in nodes if isinstance(node, ast.Expr)]
        for node in nodes:
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            if isinstance(node, ast.JoinedStr | ast.Constant) and node not in docstrings:
                ours.add("".join(str(getattr(part, "value", "")) for part in parts))
    table = text("docs/operations.md").partition("## When something fails\n")[2]
    quoted = [
        found for cell in re.findall(r"^\|([^|]*)", table, re.M) for found in INLINE.findall(cell)
    ]
    assert len(quoted) > 5
    # What stands in a message's place for a name or a number is … in the table.
    patterns = {found: ".*".join(map(re.escape, found.split("…"))) for found in quoted}
    assert [found for found in quoted if not any(re.search(patterns[found], s) for s in ours)] == []


def test_every_link_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", text(document))):
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            file = (ROOT / document).parent / path
            assert file.is_file(), f"{document}: {target}"
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8") if anchor else "", re.M)
            slugs = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}
            assert not anchor or anchor in slugs, f"{document}: {target}"


def test_the_answer_and_the_routes_shown_are_those_of_the_service() -> None:
    described = openapi.describe(
        {"tag": "digits:0", **dict.fromkeys(IDENTITY)}, classes=range(10), models=["cnn"]
    )
    (answer,) = (json.loads(body) for body in blocks("README.md", "json"))
    schemas = described["components"]["schemas"]
    assert list(answer) == schemas["Prediction"]["required"]
    assert list(answer["model"]) == schemas["Model"]["required"]
    routes = named(r"curl .*127\.0\.0\.1:3000(/\w*)")
    assert routes
    assert routes.keys() <= described["paths"].keys()


def test_a_candidates_file_opens_with_its_true_accuracy() -> None:
    opening = re.compile(r"^# [\d,]+ parameters; about ([\d.]+) % [^;]*; about \d+ s\b", re.M)
    for name in settings.load_params(ROOT / "params.yaml").candidates:
        comment = text(f"conf/model/{name}.yaml").partition("\ndefaults:")[0]
        stated = opening.search(comment)
        assert stated, f"{name}.yaml does not open with parameters, accuracy and time"
        reported = from_index(f"reports/{name}/metrics.json")
        assert reported, f"{name} was not evaluated"
        # A tenth of a point either way is what another seed does.
        accuracy = 100 * json.loads(reported)["accuracy"]
        assert abs(accuracy - float(stated[1])) <= 0.2, f"{name}.yaml: {accuracy:.2f} %"


def test_every_stage_opens_with_its_command_inputs_and_outputs() -> None:
    for stage, command in stage_commands().items():
        (module,) = re.findall(r"python -m (digits\.\w+)", command)
        source = text(f"src/{module.replace('.', '/')}.py")
        opening = (ast.get_docstring(ast.parse(source)) or "").lower()
        assert f"python -m {module}" in opening, stage
        assert "reads" in opening, stage
        assert "writes" in opening, stage


def test_the_changelog_has_this_version() -> None:
    version = tomllib.loads(text("pyproject.toml"))["project"]["version"]
    assert f"\n## [{version}] - " in text("CHANGELOG.md")


def test_no_file_names_a_package_index() -> None:
    configured = [os.environ.get(name, "") for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")]
    hosts = {urlsplit(address).hostname or "" for address in configured} | {*INDEX_HOSTS}
    hosts -= {"", "localhost", "127.0.0.1"}
    contents = {name: (ROOT / name).read_text("utf-8", "replace") for name in tracked()}
    assert [name for name in contents if any(host in contents[name] for host in hosts)] == []
    assert "://" not in contents["requirements.lock"]


def test_the_settings_shown_for_own_images_are_valid(tmp_path: Path) -> None:
    (shown,) = blocks("README.md", "yaml")
    merged = {**yaml.safe_load(text("params.yaml")), **yaml.safe_load(shown)}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(merged))
    assert settings.load_params(tmp_path / "params.yaml").data_name == "mine"
