"""Settings check themselves, and say what is wrong with which value."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from digits import settings
from digits.settings import load_dataset, load_params

ROOT = Path(__file__).parent.parent
VAL_SIZE = "val_size must be a number of images, or a share between 0 and 1 of the training images"
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
DATASET = yaml.safe_load((ROOT / "conf/data/mnist.yaml").read_text())
REMOVED = object()


def changed(content: dict[str, Any], keys: str, value: Any) -> dict[str, Any]:
    """The content with one key, such as `data.name`, set to a value or removed."""
    content = copy.deepcopy(content)
    *parents, last = keys.split(".")
    inner = content
    for parent in parents:
        inner = inner[parent]
    if value is REMOVED:
        del inner[last]
    else:
        inner[last] = value
    return content


def test_the_projects_own_settings_load() -> None:
    params = load_params(ROOT / "params.yaml")
    dataset = load_dataset(params.data_name, conf=ROOT / "conf")
    assert (dataset.name, dataset.num_train, dataset.num_test) == ("mnist", 60_000, 10_000)
    assert dataset.files.keys() == settings.IDX_PATHS.keys()
    assert all((ROOT / f"conf/model/{name}.yaml").is_file() for name in params.candidates)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("seed", REMOVED, "seed is missing"),
        ("val_siez", 5, "val_siez is unknown; did you mean val_size?"),
        ("data.fallback", "no", "data.fallback must be one of ('optdigits', 'none'), got 'no'"),
        ("data.fallbck", "none", "data.fallbck is unknown; did you mean data.fallback?"),
        ("data.name", 3, "data.name must be the name of a file in conf/data, got 3"),
        ("data", "mnist", "data must hold keys and values, got 'mnist'"),
        ("val_size", 0, f"{VAL_SIZE}; got 0"),
        ("val_size", 1.0, f"{VAL_SIZE}; got 1.0"),
        ("val_size", "10%", f"{VAL_SIZE}; got '10%'"),
        ("val_size", True, f"{VAL_SIZE}; got True"),
        ("seed", -1, "seed must be an integer >= 0, got -1"),
        ("candidates", [], "candidates must be a list of distinct names in conf/model/, got []"),
        ("candidates", "mlp", "candidates must be a list of distinct names"),
        ("candidates", ["mlp", "mlp"], "candidates must be a list of distinct names"),
        ("candidates", [["mlp"]], "candidates must be a list of distinct names"),
        ("candidates", [1], "candidates must be a list of distinct names"),
        ("gate", {}, "gate.ece is missing"),
        ("gate.significance", "low", "gate.significance must be a number in 0..1, got 'low'"),
        ("gate.significance", 5, "gate.significance must be a number in 0..1, got 5"),
        ("gate.significance", -0.1, "gate.significance must be a number in 0..1, got -0.1"),
        ("gate.ece", -0.1, "gate.ece must be a number >= 0, got -0.1"),
        ("gate.latency", 0.5, "gate.latency must be a number >= 1, got 0.5"),
        ("gate.wild", 3, "gate.wild must be a folder or null, got 3"),
        ("gate.sise", 3, "gate.sise is unknown; did you mean gate.size?"),
        ("compare", "mlp", "compare must be a list of folders in models/, got 'mlp'"),
        ("compare", ["../x"], "compare must be a list of folders in models/"),
    ],
)
def test_a_wrong_parameter_is_named(tmp_path: Path, key: str, value: Any, sentence: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed(PARAMS, key, value)))
    with pytest.raises(ValueError, match=re.escape(f"{path}: {sentence}")):
        load_params(path)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("licence", REMOVED, "licence is missing"),
        ("mirror", [], "mirror is unknown; did you mean mirrors?"),
        ("mirrors", "here", "mirrors must be a list of folders and addresses, got 'here'"),
        ("num_train", "60k", "num_train must be an integer >= 1, got '60k'"),
        ("image_size", 0, "image_size must be an integer >= 8, got 0"),
        ("classes", [0], "classes must be a list of at least two distinct numbers or names"),
        ("classes", [0, 0], "classes must be a list of at least two distinct numbers or names"),
        ("classes", [True, False], "write words such as yes and no in quotes"),
        ("synthetic.digits", -1, "synthetic.digits must be an integer >= 0, got -1"),
        ("synthetic.letters", 1, "synthetic.letters is unknown"),
        ("classes", ["a", "b"], "synthetic.digits must be 0, because classes has not all of 0"),
        ("files.test_labels", REMOVED, "files.test_labels is missing"),
        ("files.test_labels.size", 1, "files.test_labels.size is unknown"),
        ("files.test_labels.size_bytes", "1", "files.test_labels.size_bytes must be an integer"),
        ("files.test_labels.sha256", "ab", "files.test_labels.sha256 must be the 64 hexadecimal"),
    ],
)
def test_a_wrong_entry_of_a_data_set_is_named(
    tmp_path: Path, key: str, value: Any, sentence: str
) -> None:
    path = tmp_path / "data" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(changed(DATASET, key, value)))
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: .*{re.escape(sentence)}"):
        load_dataset("mine", conf=tmp_path)


def test_an_unknown_data_set_is_answered_with_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match=r"data.name 'mnits' is not in .*did you mean 'mnist'"):
        load_dataset("mnits", conf=ROOT / "conf")


def test_a_data_set_may_have_no_mirror_and_classes_with_names(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    content = changed(changed(DATASET, "mirrors", []), "classes", ["a", "b"])
    content = changed(content, "synthetic.digits", 0)
    (tmp_path / "data" / "mine.yaml").write_text(yaml.safe_dump(content))
    dataset = load_dataset("mine", conf=tmp_path)
    assert (dataset.mirrors, dataset.classes) == ((), ("a", "b"))


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(FileNotFoundError, match=r"params.yaml is missing.*project's root"):
        load_params(path)
    path.write_text("seed: [1")
    with pytest.raises(ValueError, match=r"params.yaml is not valid YAML: .*line"):
        load_params(path)
    path.write_text("- seed")
    with pytest.raises(ValueError, match=r"must hold keys and values, got \['seed'\]"):
        load_params(path)
