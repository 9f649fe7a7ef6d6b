"""Connections that rows are read through, lent to one read at a time, blocking and not.

The driver's pools make connections, and know hosts, TLS and credentials. Who reads borrows one and keeps it for the
next read when it is done. For a pool waits, looks up names, connects, sends and reads each piece for a time of its own;
here all of it together ends at the read's deadline, a moment by `time.monotonic`. So a connection is opened in a thread
of its own, and one on which a read is late is closed, which wakes whoever waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from typing import Any

from fs_core.online.redis.errors import driver
from fs_core.online.redis.reads.protocol import Exchange
from fs_core.runtime.alarms import Alarms
from fs_core.runtime.per_process import PerProcess
from fs_core.runtime.threads import in_thread

_alarms = PerProcess(Alarms)

LAST_CHANCE = 0.001  # seconds: what has arrived by the deadline is still taken
_CONNECTING = "connecting took longer than that, and goes on for later reads"


class Connections:
    """Connections of threads to one server. A caller waits for one if all are lent, until its own time is up.

    Args:
        pool: makes them.
        limit: how many at most.

    Attributes:
        alarms: the process's.
    """

    def __init__(self, pool: Any, limit: int) -> None:
        self.alarms = _alarms.get()
        self._pool, self._limit = pool, limit
        self._free: SimpleQueue[None] = SimpleQueue()  # one token for each connection that may be lent
        for _ in range(limit):
            self._free.put(None)
        self._idle: deque[Any] = deque()  # the last one used comes first

    def take(self, exchange: Exchange, ends: float) -> Any:
        """Lend an open connection for an exchange, and note whether it was idle.

        Raises:
            redis.RedisError: it can't connect, or not by then. It goes on connecting without the caller, so that where
                that takes longer than a read may, some later read finds the connection made.
        """
        try:
            self._free.get(timeout=max(ends - time.monotonic(), 0))
        except Empty:
            raise driver().TimeoutError(_all_lent(self._limit)) from None
        try:
            idle = self._idle.pop()
        except IndexError:
            idle = None
        exchange.on_idle = idle is not None
        return self._open(ends) if idle is None else idle

    def give(self, connection: Any) -> None:
        """Take back a connection on which all replies were read."""
        self._idle.append(connection)
        self._free.put(None)

    def discard(self, connection: Any) -> None:
        """Close a connection that failed, and all that are idle: a server that was restarted has closed those, too."""
        try:
            for closed in (connection, *self._taken()):
                closed.disconnect()
                self._pool.release(closed)
        finally:
            self._free.put(None)

    def close(self) -> None:
        """Close what is idle."""
        for connection in self._taken():
            connection.disconnect()
            self._pool.release(connection)

    def _taken(self) -> Iterator[Any]:
        while self._idle:
            try:
                yield self._idle.pop()
            except IndexError:
                return

    def _open(self, ends: float) -> Any:
        opening = in_thread(self._pool.get_connection)
        try:
            wait([opening], max(ends - time.monotonic(), 0))
        except BaseException:  # interrupted
            opening.add_done_callback(self._opened)
            raise
        if opening.done():
            return self._result(opening)
        opening.add_done_callback(self._opened)
        raise driver().TimeoutError(_CONNECTING)

    def _result(self, opening: Future[Any]) -> Any:
        try:
            return opening.result()
        except BaseException:
            self._free.put(None)
            raise

    def _opened(self, opening: Future[Any]) -> None:
        """Take in a connection whose caller has gone."""
        if opening.exception() is None:
            self._idle.append(opening.result())
        self._free.put(None)


class AsyncConnections:
    """Connections of one event loop to one server; as `Connections`, without blocking.

    Args:
        pool: makes them.
        limit: how many at most.
        patience: how many seconds connecting may take, whoever waits for it.
    """

    def __init__(self, pool: Any, limit: int, patience: float) -> None:
        self._pool, self._limit, self._patience = pool, limit, patience
        self._free = asyncio.Semaphore(limit)
        self._idle: list[Any] = []
        self._opening: set[asyncio.Task[Any]] = set()

    async def take(self, exchange: Exchange, ends: float) -> Any:
        """Lend an open connection, as `Connections.take`."""
        if self._free.locked():
            try:
                async with until(ends):
                    await self._free.acquire()
            except TimeoutError:
                raise driver().TimeoutError(_all_lent(self._limit)) from None
        else:
            await self._free.acquire()  # at once
        exchange.on_idle = bool(self._idle)
        return self._idle.pop() if self._idle else await self._open(ends)

    def give(self, connection: Any) -> None:
        """Take back a connection on which all replies were read."""
        self._idle.append(connection)
        self._free.release()

    async def discard(self, connection: Any) -> None:
        """Close a connection that failed, and all that are idle."""
        closed, self._idle = [connection, *self._idle], []
        try:
            for one in closed:
                await one.disconnect(nowait=True)
                await self._pool.release(one)
        finally:
            self._free.release()

    async def close(self) -> None:
        """Close what is idle, and what is being opened."""
        for opening in self._opening:
            opening.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        await asyncio.sleep(0)  # lets what was opened come back
        self._idle.clear()
        await self._pool.disconnect()

    async def _open(self, ends: float) -> Any:
        opening = asyncio.ensure_future(self._connect())
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        try:
            await asyncio.wait([opening], timeout=max(ends - time.monotonic(), 0))
        except BaseException:  # cancelled
            opening.add_done_callback(self._opened)
            raise
        if not opening.done():
            opening.add_done_callback(self._opened)
            raise driver().TimeoutError(_CONNECTING)
        try:
            return opening.result()
        except BaseException:
            self._free.release()
            raise

    async def _connect(self) -> Any:
        try:
            async with asyncio.timeout(self._patience):
                return await self._pool.get_connection()
        except TimeoutError:
            raise driver().TimeoutError("connecting took too long") from None

    def _opened(self, opening: asyncio.Task[Any]) -> None:
        """Take in a connection whose caller has gone."""
        if not opening.cancelled() and opening.exception() is None:
            self._idle.append(opening.result())
        self._free.release()


def until(ends: float) -> asyncio.Timeout:
    """Return what ends an exchange at a moment; what has arrived by then is still taken."""
    return asyncio.timeout(max(ends - time.monotonic(), LAST_CHANCE))


def _all_lent(limit: int) -> str:
    return f"all {limit} connections are in use; allow more in the URL (?max_connections={2 * limit}), or more time"
