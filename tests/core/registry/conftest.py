"""The databases that the registry is tested on: SQLite, and a real PostgreSQL server where pip installed one."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from fs_core.registry import Registry

HAS_SERVER = all(find_spec(name) for name in ("pgserver", "psycopg"))


@pytest.fixture(scope="session")
def new_schema() -> Iterator[Callable[[], str]]:
    """A function that makes a schema on a PostgreSQL server and returns the URL that leads to it."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory:
        warnings.simplefilter("ignore")
        import pgserver
        import psycopg

        Path(directory).chmod(0o755)  # the server runs as a user of its own
        server = pgserver.get_server(Path(directory) / "data", cleanup_mode="stop")
        uri: str = server.get_uri()
        with psycopg.connect(uri, autocommit=True) as connection:
            numbers = itertools.count()

            def make() -> str:
                name = f"registry{next(numbers)}"
                connection.execute(f"CREATE SCHEMA {name}")
                return uri.replace("postgresql://", "postgresql+psycopg://") + f"&options=-csearch_path%3D{name}"

            yield make
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"] if HAS_SERVER else ["sqlite"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """A function that returns the URL of a new, empty database at each call."""
    if request.param == "postgresql":
        made: Callable[[], str] = request.getfixturevalue("new_schema")
        return made
    numbers = itertools.count()
    return lambda: f"sqlite:///{tmp_path}/registry{next(numbers)}.db"


@pytest.fixture
def registry(new_url: Callable[[], str]) -> Iterator[Registry]:
    """An empty registry."""
    made = Registry(new_url())
    yield made
    made.close()
