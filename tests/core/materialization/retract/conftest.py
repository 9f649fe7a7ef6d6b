"""Pairs of stores on each kind of online store, which send two rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fs_core.materialization import event_values
from fs_core.materialization import materialize as filling
from tests.core.materialization.retract.pair import PLAIN, Pair
from tests.servers import running_server
from tests.topologies import cluster


@pytest.fixture(scope="module", params=["sqlite", "Valkey 9.1", "Redis 6.2", "cluster"])
def any_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Each kind of online store in turn."""
    if request.param == "sqlite":
        yield "sqlite"
    elif request.param == "cluster":
        with cluster("Valkey 9.1", tmp_path_factory.mktemp("cluster")) as nodes:
            yield f"redis+cluster://127.0.0.1:{nodes[0].port}"
    else:
        with running_server(request.param) as url:
            yield url


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows are sent at a time, nobody waits, and with windows every entity is hot."""
    monkeypatch.setattr(event_values, "HOT", 1)
    monkeypatch.setattr(event_values, "_SHORTER", 0)
    monkeypatch.setattr(filling, "BATCH_ROWS", 2)
    monkeypatch.setattr("fs_core.offline.delta.queries.winners.BATCH_ROWS", 2)
    monkeypatch.setattr("fs_core.materialization.check._SETTLING_SECONDS", 0.0)


@pytest.fixture
def embedded(tmp_path: Path, small: None) -> Iterator[Pair]:
    """Two stores on SQLite."""
    with Pair(tmp_path / "store", "sqlite", PLAIN) as made:
        yield made


@pytest.fixture
def pair(any_url: str, tmp_path: Path, small: None, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two stores on each online store."""
    with Pair(tmp_path / "store", any_url, getattr(request, "param", PLAIN)) as made:
        yield made
