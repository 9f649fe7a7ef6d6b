"""A reader that keeps what it reads, on a real server, and what its tests wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import redis

from fs_core.online.contract import OnlineWrite
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.redis.listening import LinkLease
from fs_core.serving import RowCache
from fs_core.testing.online_suite import packed

VIEW = "v-1"
KEYS = [b"a", b"b", b"c"]


def until(holds: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Return once something holds; fail if it doesn't for long."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def row(number: int) -> bytes:
    """Return a row that beats those of smaller numbers."""
    return packed((number, 0, 0), b"%d" % number)


class Cached:
    """A store that serves what it has read for an hour, unless it is told otherwise."""

    def __init__(self, url: str, project: str = "p") -> None:
        self.store = RedisOnlineStore(url, project=project, timeout=20.0)  # machines are noisy
        self.cache = RowCache()

    def read(self, *keys: bytes, view: str = VIEW) -> list[bytes | None]:
        """Read rows, some of them from the cache."""
        asked = self.cache.ask([(view, keys)], 3600)
        return asked.whole(*self.store.read_leased(asked.rest, self.cache))[0]

    async def read_async(self, *keys: bytes, view: str = VIEW) -> list[bytes | None]:
        """Read rows as `read`."""
        asked = self.cache.ask([(view, keys)], 3600)
        return asked.whole(*await self.store.read_leased_async(asked.rest, self.cache))[0]

    def tells(self, *keys: bytes, view: str = VIEW) -> bool:
        """Tell whether rows are kept, and the server tells of their changes."""
        leases = [self.cache._held.get((view, key), (None, 0.0, None))[2] for key in keys]
        return all(isinstance(lease, LinkLease) and lease.live for lease in leases)

    def keep(self, *keys: bytes, view: str = VIEW) -> list[bytes | None]:
        """Read rows until they are kept and told of; return them."""
        until(lambda: bool(self.read(*keys, view=view)) and self.tells(*keys, view=view), "never told of changes")
        return self.read(*keys, view=view)

    def sees(self, rows: list[bytes | None], *keys: bytes, view: str = VIEW) -> None:
        """Wait until a read returns these rows."""
        until(lambda: self.read(*keys, view=view) == rows, f"{rows} are never served")

    def close(self) -> None:
        """Release connections."""
        self.store.close()


def put(url: str, number: int, *keys: bytes, view: str = VIEW) -> None:
    """Write a row of each key through a store of its own, which no cached reader knows of."""
    store = RedisOnlineStore(url, project="p")
    store.write(view, [OnlineWrite(key, row(number)) for key in keys])
    store.close()


def reads_of(client: redis.Redis) -> int:
    """Return how many reads a server has done."""
    stats = client.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("get", "mget"))


def listening() -> list[threading.Thread]:
    """Return the threads of this process that listen to servers."""
    return [thread for thread in threading.enumerate() if thread.name == "fs-core-listener"]
