"""Rows kept in a process that a server tells of changes: what changes is dropped, what doesn't is not fetched again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import redis

from fs_core.online.contract import LeasingReader, OnlineWrite, Recent, timeline_name
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.sqlite import SQLiteOnlineStore
from tests.core.online.tracked import KEYS, VIEW, Cached, listening, put, reads_of, row, until


def test_who_tells_of_changes(tmp_path: Path) -> None:
    """The contract's optional part is met by Redis's back-end, not by the embedded one, which needs no cache."""
    assert isinstance(RedisOnlineStore("redis://127.0.0.1:1/0", project="p"), LeasingReader)
    assert not isinstance(SQLiteOnlineStore(tmp_path / "online.db", project="p"), LeasingReader)


def test_a_change(url: str, reader: Cached) -> None:
    """A row that somebody else writes is served soon, though older ones might be; so is one where there was none."""
    put(url, 1, b"a", b"b")
    assert reader.keep(*KEYS) == [row(1), row(1), None]
    put(url, 2, b"b", b"c")
    reader.sees([row(1), row(2), row(2)], *KEYS)


def test_an_older_row(url: str, reader: Cached) -> None:
    """A write that loses to the row that is there changes nothing."""
    put(url, 2, b"a")
    assert reader.keep(b"a") == [row(2)]
    put(url, 1, b"a")
    reader.sees([row(2)], b"a")


@pytest.mark.parametrize("how", ["delete", "drop", "flushall", "flushdb"])
def test_a_deletion(url: str, server: redis.Redis, reader: Cached, how: str) -> None:
    """A row that somebody else deletes, alone, with its view or with everything, is served no more."""
    put(url, 1, *KEYS)
    assert reader.keep(*KEYS) == [row(1)] * 3
    other = RedisOnlineStore(url, project="p")
    {
        "delete": lambda: other.delete(VIEW, KEYS),
        "drop": lambda: other.drop(VIEW),
        "flushall": server.flushall,
        "flushdb": server.flushdb,
    }[how]()
    other.close()
    reader.sees([None] * 3, *KEYS)
    put(url, 1, *KEYS)
    reader.sees([row(1)] * 3, *KEYS)
    assert reader.keep(*KEYS) == [row(1)] * 3


def test_a_collection(url: str, reader: Cached) -> None:
    """A row that the server collects is served no more."""
    other = RedisOnlineStore(url, project="p")
    other.write(VIEW, [OnlineWrite(b"a", row(1), time.time_ns() // 10**6 + 1500)])
    assert reader.keep(b"a") == [row(1)]
    reader.sees([None], b"a")
    other.close()


def test_a_timeline(url: str, reader: Cached) -> None:
    """Recent rows of an entity, kept beside the latest, are told of as well."""
    other, name = RedisOnlineStore(url, project="p"), timeline_name(VIEW)
    for number in (1, 2):
        other.write(VIEW, [OnlineWrite(b"a", row(number))], recent=Recent(0, 3_600_000_000, complete=True))
        until(lambda: reader.read(b"a", view=name) == other.read([(name, [b"a"])])[0], "an old timeline")
        reader.keep(b"a", view=name)
    other.close()


def test_nothing_is_fetched_twice(url: str, server: redis.Redis, reader: Cached) -> None:
    """While nothing changes, rows and that there is none are read once; a change of one fetches that one."""
    put(url, 1, b"a", b"b")
    reader.keep(*KEYS)
    done = reads_of(server)
    for _ in range(100):
        assert reader.read(*KEYS) == [row(1), row(1), None]
    assert reads_of(server) == done
    put(url, 2, b"b")
    reader.sees([row(1), row(2), None], *KEYS)
    assert not reader.cache.ask([(VIEW, [b"a", b"c"])], 3600).rest[0][1]


def test_other_names(url: str, server: redis.Redis, reader: Cached) -> None:
    """What else changes on the server, and what other views and projects have under the same key, drops nothing."""
    put(url, 1, b"a")
    reader.keep(b"a")
    held = reader.cache._held[VIEW, b"a"]
    put(url, 2, b"a", view="v-2")
    other = RedisOnlineStore(url, project="p.2")
    other.write(VIEW, [OnlineWrite(b"a", row(2))])
    other.close()
    server.set("a", 1)
    put(url, 2, b"b")
    reader.sees([row(2)], b"b")
    assert reader.cache._held[VIEW, b"a"] is held


def test_plain_reads_cost_the_server_nothing(url: str, server: redis.Redis, reader: Cached) -> None:
    """A server remembers names only of reads whose rows are kept, and nobody listens where none are."""
    before = len(listening())
    reader.store.read([(VIEW, KEYS)])
    assert server.info("stats")["tracking_total_keys"] == 0
    assert len(listening()) == before
    reader.keep(*KEYS)
    assert server.info("stats")["tracking_total_keys"] == len(KEYS)


def test_own_writes(url: str, reader: Cached) -> None:
    """What a store writes or deletes itself it serves at once."""
    for number in range(1, 100):
        reader.store.write(VIEW, [OnlineWrite(b"a", row(number))])
        assert reader.read(b"a") == [row(number)]
    reader.keep(b"a")
    reader.store.delete(VIEW, [b"a"])
    assert reader.read(b"a") == [None]


def test_without_blocking(url: str, server: redis.Redis) -> None:
    """An event loop's reads are told of changes by the same listener, and of connections that end with their loop."""
    reader = Cached(url)

    async def watch(number: int) -> None:
        put(url, number, *KEYS)
        deadline = time.monotonic() + 20
        while await reader.read_async(*KEYS) != [row(number)] * 3 or not reader.tells(*KEYS):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.002)
        done = reads_of(server)
        assert await reader.read_async(*KEYS) == [row(number)] * 3
        assert reads_of(server) == done

    async def several(*numbers: int) -> None:
        for number in numbers:
            await watch(number)
        await reader.store.aclose()

    asyncio.run(several(1, 2))
    until(lambda: not reader.tells(*KEYS), "kept though the connection has ended")
    asyncio.run(several(3, 4))
    assert reader.keep(*KEYS) == [row(4)] * 3
    assert len(server.client_list(_type="pubsub")) == 1
    reader.close()
