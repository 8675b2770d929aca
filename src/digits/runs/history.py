"""Who became champion, when, why, instead of whom, and how the two compared.

Kept with the model in MLflow's registry.
"""

import getpass
import json
import os
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from digits.runs import tracking
from digits.runs.registry import MODEL

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PREFIX = "history."  # of the registered model's tags, with a number after it
BY_HAND = ("promote", "rollback")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One change of the champion."""

    when: str  # UTC, ISO 8601
    who: str
    what: str  # gate, again (the same model from a newer run), promote or rollback
    version: int
    instead_of: int | None
    why: str
    compared: str = ""  # the champion before, A, and this one, B, on the same images


def new(*, what: str, version: int, instead_of: int | None, why: str, compared: str = "") -> Entry:
    """An entry of now, by who is logged in here."""
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Entry(
        when=when,
        who=_who(),
        what=what,
        version=version,
        instead_of=instead_of,
        why=why,
        compared=compared,
    )


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"


def read() -> list[Entry]:
    """Every change, the first one first; TrackingError when the store cannot be used."""
    tracking.check_reachable()
    with tracking.talking_to_server():
        return _read(tracking.client())


def before(entries: list[Entry], *, gone: Collection[int] = ()) -> int | None:
    """The version that was champion before the one that is; None where there was none.

    Those that are gone are passed over.

    What was rolled back is gone: rolling back twice goes back by two. Of a version that ruled more
    than once, a rollback went to the last time.
    """
    ruled: list[int] = []
    for entry in entries:
        if entry.what == "rollback" and entry.version in ruled:
            while ruled[-1] != entry.version:
                ruled.pop()
        elif entry.what == "again" and ruled:
            ruled[-1] = entry.version
        elif not ruled or ruled[-1] != entry.version:
            ruled.append(entry.version)
    passed = {*gone, *ruled[-1:]}
    return next((version for version in reversed(ruled) if version not in passed), None)


def taken_back(entries: list[Entry]) -> set[int]:
    """The versions whose place a person gave to another, and to none of them again since."""
    versions: set[int] = set()
    for entry in entries:
        if entry.what in BY_HAND and entry.instead_of is not None:
            versions.add(entry.instead_of)
        versions.discard(entry.version)
    return versions


def add(entry: Entry) -> None:
    """Add a change, once: the same entry again changes nothing."""
    with tracking.talking_to_server():
        client = tracking.client()
        known = _read(client)
        if entry not in known:
            # By time, so that two machines never write to the same place.
            key = PREFIX + re.sub("[^0-9]", "", entry.when.partition("+")[0])
            client.set_registered_model_tag(MODEL, key, json.dumps(asdict(entry)))


def _read(client: "MlflowClient") -> list[Entry]:
    found = client.search_registered_models(f"name = '{MODEL}'")
    tags = found[0].tags if found else {}
    return [Entry(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(PREFIX)]
