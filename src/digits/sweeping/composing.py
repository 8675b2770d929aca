"""What a sweep is asked for, composed before it begins: a typo leaves nothing behind."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf

from digits import configuration, training
from digits.settings import Mistaken
from digits.sweeping import search, studies

NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)


def expect_composed(config: DictConfig) -> None:
    """Raise what Hydra raises of a training of the sweep that it cannot compose.

    And Mistaken for a word where a number is wanted and for a study of something else,
    FileNotFoundError where what it would learn from is not there. Not of each training: that takes
    Hydra a tenth of a second, and it does so itself, later.
    """
    loader = GlobalHydra.instance().config_loader()
    parser = OverridesParser.create(config_loader=loader)
    overrides = parser.parse_overrides(list(config.hydra.overrides.task))
    if studies.objectives(config):
        studies.check_objectives(config)
        search.read_space(overrides)
        for key in ("num_trials", "num_at_once"):
            if not isinstance(number := config.hydra.sweeper[key], int) or number < 1:
                raise Mistaken(f"hydra.sweeper.{key} must be an integer >= 1, got {number!r}")
    elif config.hydra.sweeper._target_.endswith(".BasicSweeper"):
        _expect_discrete(overrides)
    for words in samples(overrides):
        composed = loader.load_sweep_config(config, words)
        # Hydra's own part cannot be resolved yet.
        own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        plain = configuration.plain(own)
        configuration.check(plain)
        _expect_data(plain)
    if studies.objectives(config):  # last, since it makes the database where there is none
        studies.expect_same(config, search.read_space(overrides)[1])


def _expect_data(config: dict[str, Any]) -> None:
    training.read_data_facts(Path(config["prepared"]))
    configuration.synthetic_sha256(config)


def samples(overrides: Sequence[Override]) -> list[list[str]]:
    """Trainings in which each choice occurs; of numbers the first will do."""
    # By key, since of two values for the same one the later is meant.
    choices = [*{override.get_key_element(): _choices(override) for override in overrides}.values()]
    first = [words[0] for words in choices]
    more = [
        [*first[:place], word, *first[place + 1 :]]
        for place, words in enumerate(choices)
        for word in words[1:]
    ]
    return [first, *more]


def _choices(override: Override) -> list[str]:
    key, sweep = override.get_key_element(), override.value()
    if isinstance(sweep, (RangeSweep, IntervalSweep)):
        return [f"{key}={sweep.start}"]
    if not override.is_sweep_override():
        return [override.input_line or ""]
    values = list(override.sweep_string_iterator())
    if not values:
        raise Mistaken(f"{override.input_line} is nothing at all")  # a glob that finds no file
    for value in values:
        if values.count(value) > 1:
            raise Mistaken(f"{override.input_line} has {value} twice; name each value once")
    words = [value for value in values if not NUMBER.fullmatch(value)]
    return [f"{key}={value}" for value in words or values[:1]]


def _expect_discrete(overrides: Sequence[Override]) -> None:
    for override in overrides:
        if isinstance(override.value(), IntervalSweep):
            raise Mistaken(
                f"{override.input_line} is for a search: hydra/sweeper=optuna; a sweep takes "
                f"{override.get_key_element()}=VALUE,VALUE"
            )
