"""Connections that rows are read through, and the reading: the only code that waits, blocking and not.

The driver's pools make connections, and know hosts, TLS and credentials. Who reads borrows one and keeps it for the
next read when it is done. For a pool waits, looks up names, connects, sends and reads each piece for a time of its own;
here all of it together ends at the read's deadline, a moment by `time.monotonic`. So a connection is opened in a thread
of its own, and one on which a read is late is closed, which wakes whoever waits for it.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, wait
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any

from fs_core.online.redis.client import open_pool
from fs_core.online.redis.errors import driver, driver_errors, exchange_errors
from fs_core.online.redis.protocol import Exchange, Read, Rows
from fs_core.online.redis.topology import Servers, Topology
from fs_core.online.redis.url import Address, RedisURL
from fs_core.runtime.alarms import Alarms
from fs_core.runtime.per_process import PerProcess
from fs_core.runtime.threads import in_thread

_alarms = PerProcess(Alarms)

_LAST_CHANCE = 0.001  # seconds: what has arrived by the deadline is still taken
_CONNECTING = "connecting took longer than that, and goes on for later reads"
_NO_REPLY = "no reply in time"
_SEARCHING = "connecting, to find out which server has the rows, took longer than that"


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
                async with _until(ends):
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


class Loan:
    """A connection that is lent for one exchange, and closed where that is late, which wakes who waits for a reply.

    Args:
        connections: who lends it.
        exchange: what it is lent for.
        ends: when the exchange is late.
    """

    def __init__(self, connections: Connections, exchange: Exchange, ends: float) -> None:
        self.exchange, self._connections, self._ends = exchange, connections, ends
        self._connection = connections.take(exchange, ends)
        self._alarm = connections.alarms.set(ends, self._connection.disconnect)

    def send(self) -> None:
        """Send the commands."""
        try:
            self._connection.send_packed_command((self.exchange.command,), check_health=False)
        except exchange_errors() as error:
            self.exchange.fail(error)

    def receive(self) -> None:
        """Take in the replies, errors of the server's among them."""
        exchange = self.exchange
        while exchange.error is None and len(exchange.replies) < exchange.expected:
            try:
                exchange.replies.append(self._connection.read_response(**_waiting_until(self._ends)))
            except driver().ResponseError as error:
                exchange.replies.append(error)
            except exchange_errors() as error:
                exchange.fail(error)

    def end(self) -> None:
        """Give the connection back."""
        exchange, late = self.exchange, self._connections.alarms.cancel(self._alarm)
        if exchange.error is None and not late:
            self._connections.give(self._connection)
            return
        if exchange.error is not None and (late or isinstance(exchange.error, driver().TimeoutError)):
            exchange.error = driver().TimeoutError(_NO_REPLY)
        self._connections.discard(self._connection)


class Reader:
    """Reads of threads."""

    def __init__(self, url: RedisURL) -> None:
        self.servers = Servers(url)
        self._url = url
        self._connections: dict[Address, Connections] = {}

    def run(self, read: Read) -> Rows:
        """Read rows; raise what the driver raises where they can't be read."""
        while read.goes_on:
            topology = self.servers.topology or self._found(read)
            if topology is not None:
                self._exchange(read.exchanges(topology), read.ends)
                read.settle()
            if read.failures:
                self._search_again(read)
            if read.goes_on and read.pause:
                time.sleep(read.pause)
        return read.result()

    def close(self) -> None:
        """Close what is idle."""
        for connections in self._connections.values():
            connections.close()

    def _found(self, read: Read) -> Topology | None:
        search = self.servers.search()
        wait([search], max(read.ends - time.monotonic(), 0))
        return _result(search, read)

    def _search_again(self, read: Read) -> None:
        search = self.servers.search_after(read.failures)
        if search is not None and read.goes_on:
            wait([search], max(read.ends - time.monotonic(), 0))
            read.give_up_if_late()

    def _exchange(self, exchanges: list[Exchange], ends: float) -> None:
        """Send all, then receive all: servers work at the same time."""
        loans: list[Loan] = []
        try:
            for exchange in exchanges:
                self._send(exchange, ends, loans)
            for loan in loans:
                loan.receive()
        except BaseException as error:
            for loan in loans:
                loan.exchange.error = ConnectionAbortedError(str(error))  # a reply may be on its way
            raise
        finally:
            for loan in loans:
                loan.end()

    def _send(self, exchange: Exchange, ends: float, loans: list[Loan]) -> None:
        if exchange.error is None and exchange.address is not None:
            try:
                loans.append(Loan(self._to(exchange.address), exchange, ends))
            except exchange_errors() as error:
                exchange.fail(error)
            else:
                loans[-1].send()

    def _to(self, address: Address) -> Connections:
        found = self._connections.get(address)
        if found is None:
            made = Connections(open_pool(self._url, address, asynchronous=False), self._url.connections)
            found = self._connections.setdefault(address, made)
        return found


class AsyncReader:
    """Reads of one event loop; as `Reader`, without blocking."""

    def __init__(self, url: RedisURL) -> None:
        self.servers = Servers(url)
        self._url = url
        self._connections: dict[Address, AsyncConnections] = {}

    async def run(self, read: Read) -> Rows:
        """Read rows, as `Reader.run`."""
        while read.goes_on:
            topology = self.servers.topology or await self._found(read)
            if topology is not None:
                exchanges = read.exchanges(topology)
                if len(exchanges) == 1:
                    await self._exchange(exchanges[0], read.ends)
                else:
                    await asyncio.gather(*(self._exchange(exchange, read.ends) for exchange in exchanges))
                read.settle()
            if read.failures:
                await self._search_again(read)
            if read.goes_on and read.pause:
                await asyncio.sleep(read.pause)
        return read.result()

    async def close(self) -> None:
        """Close what is idle."""
        for connections in self._connections.values():
            await connections.close()

    async def _found(self, read: Read) -> Topology | None:
        search = self.servers.search()
        await _done(search, read.ends)
        return _result(search, read)

    async def _search_again(self, read: Read) -> None:
        search = self.servers.search_after(read.failures)
        if search is not None and read.goes_on:
            await _done(search, read.ends)
            read.give_up_if_late()

    async def _exchange(self, exchange: Exchange, ends: float) -> None:
        if exchange.error is None and exchange.address is not None:
            connections = self._to(exchange.address)
            try:
                connection = await connections.take(exchange, ends)
                await _exchanged(connections, connection, exchange, ends)
            except exchange_errors() as error:
                exchange.fail(driver().TimeoutError(_NO_REPLY) if isinstance(error, TimeoutError) else error)

    def _to(self, address: Address) -> AsyncConnections:
        if address not in self._connections:
            pool = open_pool(self._url, address, asynchronous=True)
            self._connections[address] = AsyncConnections(pool, self._url.connections, self._url.timeout)
        return self._connections[address]


def _waiting_until(ends: float) -> dict[str, float]:
    """Return the arguments that limit the driver's wait, from redis-py 8 on; older ones wait for `socket_timeout`."""
    return {"timeout": max(ends - time.monotonic(), _LAST_CHANCE)} if _takes_timeouts() else {}


@cache
def _takes_timeouts() -> bool:
    return "timeout" in inspect.signature(driver().Connection.read_response).parameters


async def _exchanged(connections: AsyncConnections, connection: Any, exchange: Exchange, ends: float) -> None:
    """Send commands, take in the replies, and give the connection back."""
    try:
        async with _until(ends):
            await connection.send_packed_command((exchange.command,), check_health=False)
            while len(exchange.replies) < exchange.expected:
                try:
                    exchange.replies.append(await connection.read_response())
                except driver().ResponseError as error:
                    exchange.replies.append(error)
    except BaseException:  # cancelled, too: a reply may be on its way
        await connections.discard(connection)
        raise
    connections.give(connection)


def _result(search: Future[Topology], read: Read) -> Topology | None:
    """Return what a search has found; where it has found nothing, the read fails."""
    try:
        if search.done():
            return search.result()
        read.fail(driver().TimeoutError(_SEARCHING))
    except driver_errors() as error:
        read.fail(error)
    return None


async def _done(search: Future[Topology], ends: float) -> None:
    """Return when a search is over, at the latest by then."""
    waiter = asyncio.wrap_future(search)
    try:
        await asyncio.wait([waiter], timeout=max(ends - time.monotonic(), 0))
    finally:
        if not waiter.cancel():
            waiter.exception()  # seen: who needs it asks the search


def _until(ends: float) -> asyncio.Timeout:
    return asyncio.timeout(max(ends - time.monotonic(), _LAST_CHANCE))


def _all_lent(limit: int) -> str:
    return f"all {limit} connections are in use; allow more in the URL (?max_connections={2 * limit}), or more time"
