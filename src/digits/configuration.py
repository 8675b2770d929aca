"""Compose conf/ with Hydra: the same for the pipeline, a run by hand and a sweep."""

import hashlib
import json
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from digits import settings

# Where a run writes, and whether it may go on with an interrupted one, do not change its result.
LOCAL_KEYS = ("out", "resume")


def register_resolvers() -> None:
    """Let `${params:seed}` in conf/ read `seed` from params.yaml: no value is written twice."""
    OmegaConf.register_new_resolver("params", _read_param, replace=True, use_cache=False)


def compose(overrides: list[str], *, conf: Path = settings.CONF) -> dict[str, Any]:
    """The resolved configuration of `python -m digits.train OVERRIDES`, without its local keys."""
    register_resolvers()
    with hydra.initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        return plain(hydra.compose("train", overrides))


def plain(config: DictConfig) -> dict[str, Any]:
    """Plain resolved values of what shapes the result."""
    kept = OmegaConf.masked_copy(config, [str(key) for key in config if key not in LOCAL_KEYS])
    content = OmegaConf.to_container(kept, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def fingerprint(config: dict[str, Any], *more: str) -> str:
    """A digest of a configuration and of what else decides a result."""
    text = json.dumps([config, *more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_param(key: str) -> Any:
    settings.load_params()  # says what is wrong with the file before a single value of it is used
    value = OmegaConf.select(OmegaConf.load(settings.PARAMS), key, throw_on_missing=True)
    if value is None:
        raise ValueError(f"conf/ asks for {key!r}, which {settings.PARAMS} does not have")
    return value
