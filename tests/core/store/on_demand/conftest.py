"""A shop on the sixth day, with rows in history and online."""

from __future__ import annotations

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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with the shop's rows, in history and online, on the sixth day."""
    with FeatureStore(tmp_path / "store", clock=Stopped()) as opened:
        opened.apply(EVERYTHING)
        opened.write("spending", ROWS)
        opened.materialize("spending")
        yield opened
