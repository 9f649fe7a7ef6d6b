"""Several readers of Redis Streams, killed or not: each event is in effect once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
import redis

from fs_core import FeatureStore, StreamSource
from fs_core.testing import StreamSuite
from tests.core.streams.payments import PAID, payment, send, shops


def test_two_consumers_at_once(opened: FeatureStore, client: redis.Redis) -> None:
    """Consumers that read the same stream for one view add each message once."""
    stores = [FeatureStore(opened.directory) for _ in range(2)]
    done: list[Any] = []

    def work(store: FeatureStore) -> None:
        done.append(store.ingest("paid", "payments", batch="10ms", until_idle="1s"))

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for number in range(0, 400, 20):
        send(client, *map(payment, range(number, number + 20)))
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert shops(opened) == [f"s{number}" for number in range(400)]
    assert sum(part.rows for part in done) == 400
    assert opened.verify_online("paid").total == 0
    for store in stores:
        store.close()


def test_streams_of_one_view_at_once(store: FeatureStore, client: redis.Redis, server: str) -> None:
    """Each has a consumer of its own: all events are there once, those of a stream in its order."""
    names = ("east", "west")
    store.apply(PAID, *(StreamSource(name, url=f"{server}/{name}", description="X.") for name in names))
    for number in range(200):
        client.xadd(names[number % 2], {"m": json.dumps(payment(number))})
    stores = [FeatureStore(store.directory) for _ in names]
    threads = [
        threading.Thread(target=one.ingest, args=("paid", name), kwargs={"batch": "1ms", "until_idle": "300ms"})
        for one, name in zip(stores, names, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there = [int(shop[1:]) for shop in shops(store)]
    assert [n for n in there if n % 2 == 0] == list(range(0, 200, 2))
    assert [n for n in there if n % 2] == list(range(1, 200, 2))
    assert store.verify_online("paid").total == 0
    for one in stores:
        one.close()


class Key:
    """A Redis Stream."""

    def __init__(self, client: redis.Redis, server: str) -> None:
        self.url, self._client = f"{server}/events", client

    def send(self, bodies: Sequence[bytes]) -> None:
        """See `Broker.send`."""
        pipeline = self._client.pipeline(transaction=False)
        for body in bodies:
            pipeline.xadd("events", {"m": body})
        pipeline.execute()

    def put_aside(self) -> list[tuple[bytes, str]]:
        """See `Broker.put_aside`."""
        return [(part[b"message"], part[b"reason"].decode()) for _, part in self._client.xrange("events.rejected")]


class TestRedis(StreamSuite):
    """Redis Streams are certified by the suite that certifies any other."""

    kills = 3
    is_ordered = True

    @pytest.fixture
    def broker(self, client: redis.Redis, server: str) -> Key:
        """A stream for each test."""
        return Key(client, server)
