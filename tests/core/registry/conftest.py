"""The databases that the registry is tested on: SQLite, and real PostgreSQL and MariaDB servers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fs_core.registry import Registry
from fs_core.registry.tables import metadata, settings
from tests.servers import DatabaseServer


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> DatabaseServer | None:
    """Each database in turn: None for SQLite, which has no server."""
    return None if request.param == "sqlite" else request.getfixturevalue(request.param)


@pytest.fixture
def new_url(database: DatabaseServer | None, tmp_path: Path) -> Callable[[], str]:
    """A function that returns the URL of a new, empty database at each call."""
    numbers = itertools.count()
    return database.new_database if database else lambda: f"sqlite:///{tmp_path}/registry{next(numbers)}.db"


@pytest.fixture
def empty_url(database: DatabaseServer | None, new_url: Callable[[], str]) -> Callable[[], str]:
    """A function that returns the URL of a registry with nothing in it: on a server always one, emptied at each call.

    Servers take long to make tables. Tests that ask for it have one registry at a time.
    """
    return new_url if database is None else lambda: emptied(database)


_reused: dict[int, str] = {}


def emptied(server: DatabaseServer) -> str:
    """Return the URL of a registry that was just made, as far as one can tell."""
    if server.port not in _reused:
        _reused[server.port] = server.new_database()
        made = Registry(_reused[server.port])
        made.database.make()
        made.close()
        return _reused[server.port]
    engine = sa.create_engine(_reused[server.port], poolclass=sa.NullPool)
    with engine.begin() as connection:
        for table in metadata.tables.values():
            if table is not settings:
                connection.execute(table.delete())
        connection.execute(settings.update().where(settings.c.name == "generation").values(value="0"))
    return _reused[server.port]


@pytest.fixture
def registry(empty_url: Callable[[], str]) -> Iterator[Registry]:
    """An empty registry."""
    made = Registry(empty_url())
    yield made
    made.close()
