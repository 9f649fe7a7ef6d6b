"""The reading of rows: the only code that sends and waits for replies, blocking and not, until a read's deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from concurrent.futures import Future, wait
from functools import cache
from typing import Any

from fs_core.online.redis.client import open_pool
from fs_core.online.redis.errors import driver, driver_errors, exchange_errors
from fs_core.online.redis.reads.connections import LAST_CHANCE, AsyncConnections, Connections, until
from fs_core.online.redis.reads.protocol import Exchange, Read, Rows
from fs_core.online.redis.topology import Servers, Topology
from fs_core.online.redis.url import Address, RedisURL

_NO_REPLY = "no reply in time"
_SEARCHING = "connecting, to find out which server has the rows, took longer than that"


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
    return {"timeout": max(ends - time.monotonic(), LAST_CHANCE)} if _takes_timeouts() else {}


@cache
def _takes_timeouts() -> bool:
    return "timeout" in inspect.signature(driver().Connection.read_response).parameters


async def _exchanged(connections: AsyncConnections, connection: Any, exchange: Exchange, ends: float) -> None:
    """Send commands, take in the replies, and give the connection back."""
    try:
        async with until(ends):
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
