"""Connections to read through: as many as allowed, each lent to one read at a time, the last used first."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

from fs_core.online.redis.driver import driver, exchange_errors
from fs_core.online.redis.links import end_lease
from fs_core.online.redis.listening import Listener
from fs_core.online.redis.pauses import Pause

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
        self._preparing, self._pause = Lock(), Pause()

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

    def tracked(self, listener: Listener, patience: float) -> Any:
        """Lend a connection that a listener is told of; None where none is ready.

        Then one is made ready, within `patience` and one at a time, for later reads: this one needn't wait for it.
        Where that fails, a pause follows: a server that takes no more connections isn't asked at each read.
        """
        try:
            self._free.get_nowait()
        except Empty:
            return None
        try:
            link = self._idle.pop()
        except IndexError:
            link = self._make()
        if listener.hears(link) and link.owed is None:
            return link
        if self._pause.is_over and self._preparing.acquire(blocking=False):
            ends = time.monotonic() + patience
            try:
                Thread(target=self._prepare, args=(link, listener, ends), daemon=True).start()
            except RuntimeError:  # no more threads
                self._preparing.release()
                self.give(link)
        else:
            self._idle.appendleft(link)  # behind those that may be ready
            self._free.put(None)
        return None

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

    def _prepare(self, link: Any, listener: Listener, ends: float) -> None:
        try:
            link.catch_up(ends)
            link.open(ends)
            with listener.telling(link) as question:
                if question:
                    link.ask(question, ends)
        except exchange_errors():
            link.disconnect()
        finally:
            _judge(self._pause, well=listener.hears(link))
            self._preparing.release()
            self.give(link)


class AsyncPool:
    """Connections of one event loop; as `Pool`, without blocking."""

    def __init__(self, make: Callable[[], Any], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._free = asyncio.Semaphore(limit)
        self._idle: deque[Any] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._preparing: asyncio.Task[None] | None = None
        self._pause = Pause()

    async def take(self, ends: float) -> Any:
        """Lend a connection; raise `redis.TimeoutError` if all of them are lent until `ends`."""
        try:
            async with asyncio.timeout(max(ends - time.monotonic(), 0)):
                await self._free.acquire()
        except TimeoutError:
            raise driver().TimeoutError(_all_lent(self._limit)) from None
        return self._idle.pop() if self._idle else self._make()

    async def tracked(self, listener: Listener, patience: float) -> Any:
        """Lend a connection that a listener is told of, as `Pool.tracked`."""
        if self._free.locked():
            return None
        await self._free.acquire()  # at once
        link = self._idle.pop() if self._idle else self._make()
        if listener.hears(link) and link.owed is None:
            return link
        if self._pause.is_over and (self._preparing is None or self._preparing.done()):
            self._preparing = asyncio.ensure_future(self._prepare(link, listener, time.monotonic() + patience))
            self._connecting.add(self._preparing)
            self._preparing.add_done_callback(self._connecting.discard)
        else:
            self._idle.appendleft(link)
            self._free.release()
        return None

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
        for link in self._idle:
            end_lease(link)
        self._idle.clear()

    async def _prepare(self, link: Any, listener: Listener, ends: float) -> None:
        try:
            await link.catch_up(ends)
            await link.open(ends)
            with listener.telling(link) as question:
                if question:
                    await link.ask(question, ends)
        except BaseException as error:  # cancelled, too: a reply may be on its way
            await link.disconnect(nowait=True)
            if not isinstance(error, exchange_errors()):
                raise
        finally:
            _judge(self._pause, well=listener.hears(link))
            self.give(link)

    def _connected(self, task: asyncio.Task[None], link: Any) -> None:
        if not task.cancelled():
            task.exception()  # seen: the caller who would have been told has gone
        self.give(link)


def _judge(pause: Pause, *, well: bool) -> None:
    if well:
        pause.end()
    else:
        pause.lengthen()


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
