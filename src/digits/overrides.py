"""What is asked for by overrides, held against what conf/ and the code know.

Hydra refuses an unknown KEY=VALUE and adds any +KEY=VALUE, which nothing might read.
"""

import difflib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from digits.settings import CONF, Mistaken, either


def expect_known(words: Sequence[str]) -> None:
    """Raise Mistaken for a +KEY=VALUE that no file of conf/ knows, so that nothing would read it.

    What is added to a `_target_` is for `expect_accepted` to judge, and Hydra's own for Hydra.
    """
    for word in words:
        if word == "out=":
            raise Mistaken("out= names no folder; give one, such as out=models/mine")
        key = word.lstrip("+").partition("=")[0]
        if word.startswith("+") and re.fullmatch(r"(?!hydra\b)[\w.]+", key):
            _expect_known(key)


def expect_accepted(config: dict[str, Any]) -> None:
    """Raise Mistaken where a `_target_` is not there, or takes no argument of a name it is given.

    Imports what the targets are in, torch too.
    """
    for path, node in _targets(config):
        function = _located(f"{path}._target_", node["_target_"])
        parameters = inspect.signature(function).parameters
        if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
            continue
        for key in node:
            if key not in parameters and not key.startswith("_"):
                raise Mistaken(_unknown(f"{path}.{key}", parameters))


def explained(error: Exception) -> str:
    """A mistake in what was asked for as one sentence, with what was probably meant."""
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is no KEY=VALUE, such as seed=1"
    text = str(error)
    options = re.search(r"Available options in '([^']*)':\n((?:\t.*\n?)*)", text)
    if options:
        asked = re.search(r"Could not find '([^']*)'", text)
        name = asked[1].rpartition("/")[2] if asked else ""
        known = options[2].split()
        near = difflib.get_close_matches(name, known, n=3) or known
        return f"{options[1]}={name} is not there; there is {options[1]}={either(near)}"
    if gone := re.match(r"Could not delete from config\. '([\w.]+)' does not exist", text):
        try:
            _expect_known(gone[1])
        except Mistaken as mistaken:
            return str(mistaken)
    for cause in _causes(error):
        if wrong := re.search(r"raised while resolving interpolation: (.*)", str(cause)):
            return wrong[1]
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            if isinstance(cause.parent_node, DictConfig):
                return _not_in(cause.full_key, cause.parent_node)
            break
    return one_line(error)


def one_line(error: Exception) -> str:
    """An error's message as one sentence, without Hydra's list of places it looked in."""
    return " ".join(str(error).partition("\nConfig search path")[0].split())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _not_in(key: str, node: DictConfig) -> str:
    """A key that a configuration does not have; `a/b` is a group of Hydra's."""
    group, slash, name = key.rpartition("/")
    if slash and group in node:
        near = difflib.get_close_matches(name, map(str, node[group]), n=2)
        if near:
            return _unknown(key, [f"{group}/{each}" for each in near])
    own = key.startswith("hydra") or "_target_" in node
    return _unknown(key, map(str, node), adding=f"+{key}=VALUE adds it" if own else None)


def _unknown(key: str, siblings: Iterable[str], *, adding: str | None = None) -> str:
    path, _, last = key.rpartition(".")
    prefix = f"{path}." if path else ""
    known = [each for each in siblings if not each.startswith("_")]
    near = [prefix + each for each in difflib.get_close_matches(last, known, n=2)]
    if near:
        return f"the configuration has no {key!r}; did you mean {' or '.join(near)}?"
    listed = f"it has {', '.join(prefix + each for each in sorted(known))}"
    return f"the configuration has no {key!r}; {adding or listed}"


def _expect_known(key: str) -> None:
    node, path = _known_keys(), ""
    for part in key.split("."):
        if not isinstance(node, dict) or "_target_" in node:
            return
        path = f"{path}.{part}" if path else part
        if part not in node:
            raise Mistaken(_unknown(path, node))
        node = node[part]


def _known_keys(conf: Path = CONF) -> Any:
    """All the keys that the files of conf/ give a value, as they are nested in a configuration."""
    known: dict[str, Any] = {}
    for path in sorted(conf.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) or {}
        content.pop("defaults", None)
        below = [] if "@package _global_" in text else path.relative_to(conf).parent.parts
        for part in reversed(below):
            content = {part: content}
        known.setdefault(path.relative_to(conf).parts[0].removesuffix(".yaml"), {})
        _merge(known, content)
    return known


def _merge(known: dict[str, Any], content: dict[str, Any]) -> None:
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(known.setdefault(key, {}), dict):
            _merge(known[key], value)
        else:
            known.setdefault(key, value)


def _targets(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(node, dict):
        return
    if "_target_" in node:
        yield path, node
    for key, value in node.items():
        yield from _targets(value, f"{path}.{key}" if path else key)


def _located(key: str, target: str) -> Any:
    try:
        return pkgutil.resolve_name(target)
    except Exception as error:  # whatever the import of a module may raise
        module, _, name = target.rpartition(".")
        try:
            near = difflib.get_close_matches(name, dir(pkgutil.resolve_name(module)), n=2)
        except Exception:
            raise Mistaken(f"{key}={target} is not there: {one_line(error)}") from error
        meant = f"; did you mean {' or '.join(f'{module}.{each}' for each in near)}?"
        raise Mistaken(f"{key}={target} is not there{meant if near else ''}") from error
