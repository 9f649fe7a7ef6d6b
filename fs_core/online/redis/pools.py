"""Connections to read through: as many as allowed, each lent to one read at a time, the last used first."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from fs_core.online.redis.driver import driver


class Pool:
    """Connections of threads. A caller waits for one if all are lent, until its own time is up."""

    def __init__(self, make: Callable[[], Any], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._free: SimpleQueue[None] = SimpleQueue()  # one token for each connection that may be lent
        for _ in range(limit):
            self._free.put(None)
        self._idle: deque[Any] = deque()

    def take(self, ends: float) -> Any:
        """Lend a connection.

        Raises:
            redis.TimeoutError: all of them are lent until `ends`.
        """
        try:
            self._free.get(timeout=max(ends - time.monotonic(), 0))
        except Empty:
            raise driver().TimeoutError(_all_lent(self._limit)) from None
        try:
            return self._idle.pop()
        except IndexError:
            return self._make()

    def give(self, link: Any) -> None:
        """Take a connection back."""
        self._idle.append(link)
        self._free.put(None)

    def clear(self) -> None:
        """Close what is idle."""
        while self._idle:
            try:
                self._idle.pop().disconnect()
            except IndexError:
                return


class AsyncPool:
    """Connections of one event loop; as `Pool`, without blocking."""

    def __init__(self, make: Callable[[], Any], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._free = asyncio.Semaphore(limit)
        self._idle: deque[Any] = deque()

    async def take(self, ends: float) -> Any:
        """Lend a connection; raise `redis.TimeoutError` if all of them are lent until `ends`."""
        try:
            async with asyncio.timeout(max(ends - time.monotonic(), 0)):
                await self._free.acquire()
        except TimeoutError:
            raise driver().TimeoutError(_all_lent(self._limit)) from None
        return self._idle.pop() if self._idle else self._make()

    def give(self, link: Any) -> None:
        """Take a connection back."""
        self._idle.append(link)
        self._free.release()

    async def clear(self) -> None:
        """Close what is idle."""
        while self._idle:
            await self._idle.pop().disconnect()


def _all_lent(limit: int) -> str:
    return f"all {limit} connections are in use; open the store with more, or allow more time"
