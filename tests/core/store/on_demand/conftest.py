"""A shop on the sixth day, with rows in history and online."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fs_core import FeatureStore
from fs_core.values.times import Clock, micros
from tests.core.transforms.shop import (
    EVERYTHING,
    ROWS,
    day,
)


class Stopped(Clock):
    """A clock that always shows the sixth day."""

    def now(self) -> int:
        """Return it, microseconds."""
        return micros(day(6))


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a store with the shop's rows, in history and online; nobody changes it."""
    directory = tmp_path_factory.mktemp("on_demand") / "store"
    with FeatureStore(directory, clock=Stopped()) as opened:
        opened.apply(EVERYTHING)
        opened.write("spending", ROWS)
        opened.materialize("spending")
    return directory


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Iterator[FeatureStore]:
    """A copy of that store, on the sixth day: to define all of it anew would take each test a second."""
    shutil.copytree(filled, tmp_path / "store")
    with FeatureStore(tmp_path / "store", clock=Stopped()) as opened:
        yield opened
