"""Connections that come and go, are refused, or are left open by event loops that have ended."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
import redis

from fs_core.errors import OnlineUnavailableError
from fs_core.online.redis import RedisOnlineStore
from tests.servers import running_server

WANTED = [("v-1", [b"e"])]


def open_files() -> int:
    """How many files and sockets this process has open."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


async def read_and_close(store: RedisOnlineStore) -> None:
    """Read as an event loop does that ends in order."""
    await store.read_async(WANTED)
    await store.aclose()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_stores_that_come_and_go_leave_no_file_open(asynchronous: bool) -> None:
    """A store that was closed holds no connection, whichever way it read."""
    counts = []
    with running_server("Valkey 9.1") as url:
        for _ in range(6):
            store = RedisOnlineStore(url, project="p", timeout=20.0)
            if asynchronous:
                asyncio.run(read_and_close(store))
            else:
                store.read(WANTED)
            store.close()
            counts.append(open_files())
    assert counts[-1] <= counts[1]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_event_loops_that_close_nothing_leave_no_file_open() -> None:
    """A loop that ends without `aclose` leaves no open connection behind once another one reads."""
    counts = []
    with running_server("Valkey 9.1") as url:
        store = RedisOnlineStore(url, project="p", timeout=20.0)
        for _ in range(8):
            asyncio.run(store.read_async(WANTED))
            counts.append(open_files())
        store.close()
        gc.collect()  # what is collected warns that it wasn't closed
    assert counts[-1] <= counts[1]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_server_that_takes_no_more_connections(asynchronous: bool) -> None:
    """A read that gets none fails as one that nobody answers; once the server takes some, the same store reads."""
    with running_server("Valkey 9.1", "--maxclients", "1") as url, redis.Redis.from_url(url) as client:
        client.ping()  # holds the only connection
        store = RedisOnlineStore(url, project="p", timeout=5.0)

        async def read() -> None:
            await read_and_close(store) if asynchronous else store.read(WANTED)

        with pytest.raises(OnlineUnavailableError, match="doesn't answer"):
            asyncio.run(read())
        client.config_set("maxclients", 100)
        asyncio.run(read())
        store.close()
