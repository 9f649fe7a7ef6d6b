"""A real server with a stream of payments, and files of schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from fs_core import FeatureStore, StreamSource
from tests.core.streams.payments import PAID
from tests.servers import running_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A real server."""
    with running_server("Valkey 9.1") as url:
        yield url


@pytest.fixture
def client(server: str) -> Iterator[redis.Redis]:
    """A client of the server, which is empty."""
    with redis.Redis.from_url(server) as client:
        client.flushall()
        yield client


@pytest.fixture
def payments(server: str) -> StreamSource:
    """The stream."""
    return StreamSource("payments", url=f"{server}/payments", description="Payments as they happen.")


@pytest.fixture
def opened(store: FeatureStore, payments: StreamSource) -> FeatureStore:
    """A store in which view and stream are known."""
    store.apply(PAID, payments)
    return store


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a schema of Avro and a descriptor set."""
    from tests.core.streams.schemas import AVRO, DESCRIPTORS

    folder = tmp_path_factory.mktemp("schemas")
    (folder / "payment.avsc").write_text(json.dumps(AVRO))
    (folder / "payment.desc").write_bytes(DESCRIPTORS.SerializeToString())
    return folder
