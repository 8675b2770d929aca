"""Compose conf/ with Hydra: the same for the pipeline, a run by hand and a sweep."""

import difflib
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from digits import settings
from digits.settings import Mistaken

ACCELERATORS = ("auto", "cpu", "gpu")
PRECISIONS = ("auto", "32-true", "bf16-mixed")
COMPILERS = ("inductor", "cudagraphs", "aot_eager")  # of torch.compile's; the last only traces
STRATEGIES = ("ddp",)
KEPT = ("last", "best")
LEARNING = Path(__file__).parent / "learning"
MISSING = "???"  # OmegaConf's word for what another file must set
LONGEST_NAME = 255  # bytes that file systems take for a name
# Where a run writes, and whether it may go on with an interrupted one, do not change its result.
LOCAL_KEYS = ("out", "resume")


def register_resolvers() -> None:
    """Let `${params:seed}` in conf/ read `seed` from params.yaml: no value is written twice.

    And `${folder_name:…}` be a text that a file system takes for a name.
    """
    OmegaConf.register_new_resolver("params", _read_param, replace=True, use_cache=False)
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True, use_cache=False)


def folder_name(text: str) -> str:
    """A name for a folder: the text itself or, of one that is too long, its beginning.

    A digest tells that from others which begin alike, and is the same for the same text.
    """
    if len(text.encode()) <= LONGEST_NAME:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    kept = text.encode()[: LONGEST_NAME - len(digest) - 4].decode(errors="ignore")
    return f"{kept}..._{digest}"


def compose(overrides: list[str], *, conf: Path = settings.CONF) -> dict[str, Any]:
    """The resolved configuration of `python -m digits.train OVERRIDES`, without its local keys."""
    register_resolvers()
    with hydra.initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        return plain(hydra.compose("train", overrides))


def plain(config: DictConfig) -> dict[str, Any]:
    """Plain resolved values of what shapes the result.

    Of the data set only its name: where its files come from changes nothing, and what they hold is
    in data.json, with its digest.
    """
    kept = OmegaConf.masked_copy(config, [str(key) for key in config if key not in LOCAL_KEYS])
    content = OmegaConf.to_container(kept, resolve=True)
    assert isinstance(content, dict)
    content["data"] = content["data"]["name"]
    return {str(key): value for key, value in content.items()}


def check(config: dict[str, Any]) -> None:
    """Raise Mistaken for a value that no training can work with, before one is begun.

    What only one network, schedule or augmentation knows of is checked by that.
    """
    _expect_number(config, "seed", int, lowest=0)
    _expect_number(config, "training.epochs", int, lowest=1)
    _expect_number(config, "training.batch_size", int, lowest=1)
    _expect_number(config, "training.label_smoothing", float, lowest=0, highest=1)
    _expect_number(config, "optimizer.lr", float, lowest=0)
    _expect_number(config, "model.num_members", int, lowest=1)
    _expect_number(config, "refuse", float, lowest=0, highest=0.5)
    _expect_number(config, "num_folds", int, lowest=2)
    _expect_number(config, "synthetic.digits", float, lowest=0)
    _expect_number(config, "synthetic.nondigits", float, lowest=0)
    _expect_number(config, "synthetic.nondigits_until", float, lowest=0, highest=1)
    _expect_number(config, "synthetic.nondigits_late", float, lowest=0, highest=1)
    augmented = _value(config, "model.test_time_augmentation")
    if not isinstance(augmented, bool):
        raise Mistaken(f"model.test_time_augmentation must be true or false, got {augmented!r}")
    if _value(config, "fold") is not None:
        _expect_number(config, "fold", int, lowest=0, highest=config["num_folds"] - 1)
    choices = [
        ("trainer.accelerator", ACCELERATORS),
        ("trainer.precision", PRECISIONS),
        ("training.keep", KEPT),
    ]
    if _value(config, "trainer.compile") is not None:
        choices += [("trainer.compile", COMPILERS)]
    if "strategy" in config["trainer"]:  # several processes train together
        choices += [("trainer.strategy", STRATEGIES)]
        _expect_number(config, "trainer.num_nodes", int, lowest=1)
        if _value(config, "trainer.devices") != "auto":
            _expect_number(config, "trainer.devices", int, lowest=1)
    for key, known in choices:
        value = _value(config, key)
        if value not in known:
            raise Mistaken(f"{key} must be one of {', '.join(known)}, got {value!r}")


def fingerprint(config: dict[str, Any], *more: str) -> str:
    """A digest of a configuration and of what else decides a result."""
    text = json.dumps([config, *more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def training_fingerprint(config: dict[str, Any], *, data_digest: str) -> str:
    """A digest of all that decides a training's result: configuration, images, code, teacher."""
    more = (teacher_sha256(config) or "", synthetic_sha256(config) or "")
    return fingerprint(config, data_digest, code_digest(), *more)


def teacher_sha256(config: dict[str, Any]) -> str | None:
    """The digest of the bundle that a student learns from, which decides its result too.

    None without a teacher; ValueError when there is no such bundle.
    """
    teacher = config["training"]["teacher"]
    if not teacher:
        return None
    path = Path(teacher) / "model.onnx"
    if not path.is_file():
        raise Mistaken(
            f"training.teacher={teacher} is no bundle: {path} is missing; train one first, "
            f"`python -m digits.train model=ensemble out={Path(teacher).parent}`"
        )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def synthetic_sha256(config: dict[str, Any]) -> str | None:
    """The digest of the drawn images that are learnt from; None without any.

    FileNotFoundError when they are not drawn yet.
    """
    if not any(settings.synthetic_shares(config["synthetic"]).values()):
        return None
    path = settings.synthetic_file(config["data"])
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run `dvc repro synthesize`")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def code_digest() -> str:
    """A digest of the code that trains: a training is not resumed by other code."""
    digest = hashlib.sha256()
    for path in sorted(LEARNING.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _expect_number(
    config: dict[str, Any],
    key: str,
    kind: type,
    *,
    lowest: float,
    highest: float = math.inf,
) -> None:
    value = _value(config, key)
    kinds = (int, float) if kind is float else (int,)
    if not isinstance(value, kinds) or isinstance(value, bool) or not lowest <= value <= highest:
        what = "an integer" if kind is int else "a number"
        within = f">= {lowest}" if highest == math.inf else f"in {lowest}..{highest}"
        raise Mistaken(f"{key} must be {what} {within}, got {value!r}")


def _value(config: dict[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        siblings = value if isinstance(value, dict) else {}
        value = siblings.get(part, MISSING)
        if value == MISSING:
            near = difflib.get_close_matches(part, [one for one in siblings if one != part], n=1)
            instead = f", where it has {near[0]!r}" if near else ""
            raise Mistaken(
                f"{key} is missing: the model's file in conf/model/ must set it{instead}"
            )
    return value


def _read_param(key: str) -> Any:
    settings.load_params()  # says what is wrong with the file before a single value of it is used
    value = OmegaConf.select(OmegaConf.load(settings.PARAMS), key, throw_on_missing=True)
    if value is None:
        raise Mistaken(f"conf/ asks for {key!r}, which {settings.PARAMS} does not have")
    return value
