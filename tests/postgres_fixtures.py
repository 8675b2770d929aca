"""A PostgreSQL server of the tests' own, where there is one to start."""

import os
from collections.abc import Iterator

import pytest

import postgres as database


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a server with an empty database, as SQLAlchemy writes it."""
    if not database.is_here():
        if "CI" in os.environ:
            pytest.fail(database.INSTALL)
        pytest.skip(database.INSTALL)
    with database.server() as address:
        yield address
