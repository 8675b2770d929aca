"""Composing conf/ with params.yaml, and refusing what no training can work with."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.errors import HydraException

from digits import compose, configuration, overrides

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edit(path: str, pattern: str, new: str) -> None:
    text, num = re.subn(pattern, new, Path(path).read_text())
    assert num == 1, path
    Path(path).write_text(text)


def test_a_model_brings_its_network_its_training_and_its_augmentation() -> None:
    cnn = configuration.compose(["model=cnn"])
    mlp = configuration.compose(["model=mlp"])
    assert cnn["model"]["network"]["_target_"].endswith("Stack")
    assert mlp["model"]["network"]["_target_"].endswith("Mlp")
    for name, config in (("cnn", cnn), ("mlp", mlp)):
        written = yaml.safe_load(Path(f"conf/model/{name}.yaml").read_text())
        assert config["training"] == {"teacher": None, "keep": "last", **written["training"]}
        assert config["optimizer"]["lr"] == written["optimizer"]["lr"]
    assert cnn["augment"]["moves"] == mlp["augment"]
    assert cnn["augment"]["patches"]["_target_"].endswith("Patches")


def test_groups_and_values_are_chosen_on_the_command_line() -> None:
    config = configuration.compose(
        ["model=mlp", "augment=none", "schedule=constant", "optimizer.lr=0.5", "trainer=cpu"]
    )
    assert config["schedule"]["_target_"].endswith("constant")
    assert config["optimizer"]["lr"] == 0.5
    assert config["trainer"]["accelerator"] == "cpu"


def test_of_the_data_set_only_the_name_shapes_the_result() -> None:
    before = configuration.compose(["model=mlp"])
    assert (before["data"], before["prepared"]) == ("mnist", "data/mnist/prepared")
    edit("conf/data/mnist.yaml", r"  - \.\./shared/mnist\n", "")
    assert configuration.compose(["model=mlp"]) == before
    other = configuration.compose(["model=mlp", "data=optdigits"])
    assert (other["data"], other["prepared"]) == ("optdigits", "data/optdigits/prepared")
    edit("params.yaml", "name: mnist", "name: optdigits")
    assert configuration.compose(["model=mlp"]) == other


def test_the_seed_is_read_from_params_yaml_and_can_be_overridden() -> None:
    edit("params.yaml", r"seed: \d+", "seed: 41")
    assert configuration.compose(["model=mlp"])["seed"] == 41
    assert configuration.compose(["model=mlp", "seed=7"])["seed"] == 7


def test_a_key_that_params_yaml_does_not_have_is_named() -> None:
    edit("conf/train.yaml", "params:seed", "params:sead")
    with pytest.raises(Exception, match=r"conf/ asks for 'sead', which params.yaml does not have"):
        configuration.compose(["model=mlp"])


def test_every_value_is_resolved_and_nothing_local_is_kept() -> None:
    config = configuration.compose(["model=mlp", "out=somewhere", "resume=false"])
    assert "${" not in str(config)
    assert not {"out", "resume", "hydra"} & config.keys()


def test_the_fingerprint_tells_results_apart_and_not_where_they_are_written() -> None:
    def fingerprint(*overrides: str) -> str:
        return configuration.fingerprint(configuration.compose(["model=mlp", *overrides]))

    assert fingerprint() == fingerprint("out=elsewhere") == fingerprint("resume=false")
    others = ("seed=999", "optimizer.lr=0.999", "training.epochs=999", "augment=none")
    assert len({fingerprint(), *map(fingerprint, others)}) == 1 + len(others)
    assert configuration.fingerprint({"a": 1, "b": 2}) == configuration.fingerprint(
        {"b": 2, "a": 1}
    )
    assert configuration.fingerprint({"a": 1}) != configuration.fingerprint({"a": 1}, "data")


@pytest.mark.parametrize("group", ["model", "experiment"])
def test_the_files_of_this_repository_pass_the_check(group: str) -> None:
    for path in Path("conf", group).glob("*.yaml"):
        config = configuration.compose([f"{group}={path.stem}"])
        configuration.check(config)
        assert config["model"]["name"] == path.stem


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", -1, "seed must be an integer >= 0, got -1"),
        ("seed", "x", "seed must be an integer >= 0, got 'x'"),
        ("training.epochs", 0, "training.epochs must be an integer >= 1, got 0"),
        ("training.epochs", 1.5, "training.epochs must be an integer >= 1, got 1.5"),
        ("training.epochs", True, "training.epochs must be an integer >= 1, got True"),
        ("training.batch_size", None, "training.batch_size must be an integer >= 1, got None"),
        ("training.label_smoothing", 2, "must be a number in 0..1, got 2"),
        ("optimizer.lr", "abc", "optimizer.lr must be a number >= 0, got 'abc'"),
        ("optimizer.lr", float("nan"), "optimizer.lr must be a number >= 0, got nan"),
        ("num_folds", 1, "num_folds must be an integer >= 2, got 1"),
        ("fold", 5, r"fold must be an integer in 0..4, got 5"),
        (
            "model.test_time_augmentation",
            2,
            "model.test_time_augmentation must be true or false, got 2",
        ),
        ("training.keep", "first", "training.keep must be one of last, best, got 'first'"),
        ("trainer.accelerator", "tpu", "trainer.accelerator must be one of auto, cpu, gpu"),
        ("trainer.compile", "induct", "trainer.compile must be one of inductor, cudagraphs, aot"),
        ("trainer.precision", "bf8", "trainer.precision must be one of auto, 32-true"),
    ],
)
def test_a_value_that_no_training_can_work_with_is_refused(
    key: str, value: object, message: str
) -> None:
    config: dict[str, Any] = configuration.compose(["model=mlp"])
    part, _, name = key.rpartition(".")
    (config[part] if part else config)[name] = value
    with pytest.raises(ValueError, match=message):
        configuration.check(config)


def test_a_model_file_that_leaves_its_training_out_is_refused() -> None:
    config = configuration.compose(["model=mlp"])
    del config["training"]["epochs"]
    with pytest.raises(ValueError, match=r"training.epochs is missing: the model's file in conf/"):
        configuration.check(config)


def test_a_misspelt_key_in_a_models_file_is_named() -> None:
    edit("conf/model/mlp.yaml", r"\blr:", "lrr:")
    config = configuration.compose(["model=mlp"])
    sentence = "optimizer.lr is missing: the model's file in conf/model/ must set it, where it has"
    with pytest.raises(ValueError, match=f"{sentence} 'lrr'"):
        configuration.check(config)


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(HydraException) as caught:
        configuration.compose(["model=cn"])
    assert overrides.explained(caught.value) == "model=cn is not there; there is model=cnn"
    assert overrides.one_line(caught.value) == (
        "In 'train': Could not find 'model/cn' Available options in 'model': "
        "adam_cnn cnn convnet ensemble lenet5 linear mlp simple_mlp student tiny vgg_small "
        "wide_ensemble wide_mlp"
    )


def test_each_candidate_gets_a_file_with_what_its_training_uses(project: Path) -> None:
    compose.run(candidates=("mlp", "cnn"), out=project / "composed")
    files = sorted((project / "composed").iterdir())
    assert [path.name for path in files] == ["cnn.yaml", "mlp.yaml"]
    for path in files:
        assert yaml.safe_load(path.read_text()) == configuration.compose([f"model={path.stem}"])


def test_composed_files_change_with_their_own_values_alone(project: Path) -> None:
    def composed() -> dict[str, str]:
        compose.run(candidates=("mlp", "cnn"), out=project / "composed")
        return {path.stem: path.read_text() for path in (project / "composed").iterdir()}

    before = composed()
    edit("conf/model/mlp.yaml", r"epochs: \d+", r"\g<0> # enough")
    assert composed() == before
    edit("conf/model/mlp.yaml", r"epochs: \d+", "epochs: 999")
    after = composed()
    assert after["cnn"] == before["cnn"]
    assert after["mlp"] != before["mlp"]


def test_a_candidate_no_longer_listed_leaves_no_file(project: Path) -> None:
    compose.run(candidates=("mlp", "cnn"), out=project / "composed")
    compose.run(candidates=("cnn",), out=project / "composed")
    assert [path.name for path in (project / "composed").iterdir()] == ["cnn.yaml"]


def test_a_candidate_that_cannot_be_trained_is_named_and_nothing_is_written(
    project: Path,
) -> None:
    with pytest.raises(ValueError, match=r"candidate 'cn' does not compose: model=cn is not there"):
        compose.run(candidates=("cnn", "cn"), out=project / "composed")
    edit("conf/model/mlp.yaml", r"epochs: \d+", "epochs: none")
    with pytest.raises(ValueError, match=r"'mlp' does not compose: training.epochs must be an int"):
        compose.run(candidates=("cnn", "mlp"), out=project / "composed")
    assert not list(project.glob("composed*"))
