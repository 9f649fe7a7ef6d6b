"""Connections to read through: as many as allowed, each lent to one read at a time, the last used first."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from fs_core.online.redis.driver import driver

_STILL_CONNECTING = "connecting took longer than that, and goes on for later reads"


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

    def open(self, link: Any, ends: float, patience: float) -> None:
        """Connect a lent connection, or take it back and raise what the driver raises.

        Connecting may take `patience`, though the caller goes at `ends`: it goes on without the caller, so
        that where it takes longer than a read may, some later read finds the connection made.
        """
        if time.monotonic() + patience <= ends:
            connecting: Future[None] = _done(link.open, ends)
        else:
            connecting = Future()
            try:
                Thread(target=_fulfil, args=(connecting, link.open, time.monotonic() + patience), daemon=True).start()
            except RuntimeError:  # no more threads
                connecting = _done(link.open, ends)
        try:
            connecting.result(timeout=max(ends - time.monotonic(), 0))
        except BaseException as error:
            connecting.add_done_callback(lambda _: self.give(link))
            if isinstance(error, TimeoutError) and not connecting.done():
                raise driver().TimeoutError(_STILL_CONNECTING) from None
            raise

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
        self._connecting: set[asyncio.Task[None]] = set()

    async def take(self, ends: float) -> Any:
        """Lend a connection; raise `redis.TimeoutError` if all of them are lent until `ends`."""
        try:
            async with asyncio.timeout(max(ends - time.monotonic(), 0)):
                await self._free.acquire()
        except TimeoutError:
            raise driver().TimeoutError(_all_lent(self._limit)) from None
        return self._idle.pop() if self._idle else self._make()

    async def open(self, link: Any, ends: float, patience: float) -> None:
        """Connect a lent connection, as `Pool.open`."""
        connecting = asyncio.ensure_future(link.open(time.monotonic() + patience))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        try:
            async with asyncio.timeout(max(ends - time.monotonic(), 0)):
                await asyncio.shield(connecting)
        except BaseException as error:
            connecting.add_done_callback(lambda task: self._connected(task, link))
            if isinstance(error, TimeoutError) and not connecting.done():
                raise driver().TimeoutError(_STILL_CONNECTING) from None
            raise

    def give(self, link: Any) -> None:
        """Take a connection back."""
        self._idle.append(link)
        self._free.release()

    async def clear(self) -> None:
        """Close what is idle."""
        while self._idle:
            await self._idle.pop().disconnect()

    async def close(self) -> None:
        """Close what is idle, and what is being connected."""
        for connecting in list(self._connecting):
            connecting.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        await asyncio.sleep(0)  # lets what was being connected come back
        await self.clear()

    def forget(self) -> None:
        """Give up what is idle; its loop is closed."""
        self._idle.clear()

    def _connected(self, task: asyncio.Task[None], link: Any) -> None:
        if not task.cancelled():
            task.exception()  # seen: the caller who would have been told has gone
        self.give(link)


def _done(work: Callable[[float], None], ends: float) -> Future[None]:
    """Do work now."""
    future: Future[None] = Future()
    _fulfil(future, work, ends)
    return future


def _fulfil(future: Future[None], work: Callable[[float], None], ends: float) -> None:
    try:
        work(ends)
    except BaseException as error:  # noqa: BLE001  # it is raised where the future is waited for
        future.set_exception(error)
    else:
        future.set_result(None)


def _all_lent(limit: int) -> str:
    return f"all {limit} connections are in use; open the store with more, or allow more time"
