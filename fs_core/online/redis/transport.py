"""Carrying reads to servers and back: the only two places where one waits, blocking and not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Iterator
from functools import partial
from typing import Any, cast

from fs_core.online.redis.driver import driver, driver_errors, exchange_errors
from fs_core.online.redis.job import Exchange, ReadJob, Rows
from fs_core.online.redis.links import link_class
from fs_core.online.redis.places import Address, Place, arguments
from fs_core.online.redis.pools import AsyncPool, Pool
from fs_core.online.redis.topology import topology_of


class _Routes:
    """What both transports know: the servers, and a pool for each."""

    def __init__(self, place: Place, connections: int, patience: float) -> None:
        self.topology = topology_of(place)
        self._place, self._connections, self._patience = place, connections, patience
        self._pools: dict[tuple[Address, bool], Any] = {}
        self._answered: Address | None = None

    def _pool(self, address: Address, kind: type[Any], *, to_ask: bool = False) -> Any:
        """Return a pool of a server; a Sentinel's, which has credentials of its own, is another where it is asked."""
        watcher = to_ask and self._place.sentinel_options is not None
        pool = self._pools.get((address, watcher))
        if pool is None:
            options = self._place.sentinel_options if watcher else None
            given = options or self._place.options
            made = link_class(cast(Hashable, _flavour(given["connection_class"], asynchronous=kind is AsyncPool)))
            make = partial(made, **arguments(address, given))
            pool = self._pools.setdefault((address, watcher), kind(make, self._connections))
        return pool

    def _to_ask(self, ends: float) -> Iterator[tuple[Address, float]]:
        """Yield servers to ask who has what, each with its share of the time: a silent one mustn't take it all."""
        last = [self._answered] if self._answered else []
        known = list(dict.fromkeys([*last, *getattr(self.topology, "servers", []), *self._place.seeds]))
        for number, address in enumerate(known):
            now = time.monotonic()
            yield address, now + max(ends - now, 0) / (len(known) - number)

    def _learn(self, reply: Any, asked: Address) -> bool:
        if self.topology.learn(reply, asked):
            self._answered = asked
        return self.topology.known


class Transport(_Routes):
    """Reads of threads."""

    def run(self, job: ReadJob) -> Rows:
        """Do a job; raise what the driver raises where it can't be done."""
        while job.goes_on:
            if self.topology.known or self._find_out(job):
                self._exchange(job.exchanges(), job)
                job.settle()
            if job.goes_on and job.pause:
                time.sleep(job.pause)
        return job.result()

    def close(self) -> None:
        """Close what is idle."""
        for pool in self._pools.values():
            pool.clear()

    def _find_out(self, job: ReadJob) -> bool:
        error: Exception = driver().ConnectionError(self.topology.nobody_knows)
        for address, share in self._to_ask(job.ends):
            pool = self._pool(address, Pool, to_ask=True)
            try:
                link = pool.take(share)
                if not link.is_open:  # not by `ask`: a name's address may take longer than allowed
                    pool.open(link, share, self._patience)
                try:
                    if self._learn(link.ask(self.topology.question, share), address):
                        return True
                finally:
                    pool.give(link)
            except driver_errors() as failure:
                error = failure
        job.nobody_answers(error)
        return False

    def _exchange(self, exchanges: list[Exchange], job: ReadJob) -> None:
        """Send all, then receive all: servers work at the same time."""
        lent: list[tuple[Exchange, Any, Pool]] = []
        try:
            for exchange in exchanges:
                self._send(exchange, job, lent)
            while lent:
                exchange, link, pool = lent[0]
                try:
                    link.receive(exchange.replies)
                except exchange_errors() as error:
                    _fail(exchange, error)
                    pool.clear()
                pool.give(lent.pop(0)[1])
        finally:
            for _, link, pool in lent:  # interrupted: a reply may be on its way
                link.disconnect()
                pool.give(link)

    def _send(self, exchange: Exchange, job: ReadJob, lent: list[tuple[Exchange, Any, Pool]]) -> None:
        if exchange.error is not None or exchange.address is None:
            return
        try:
            pool, link = self._lent(exchange, exchange.address, job)
        except driver_errors() as error:
            _fail(exchange, error)
            return
        try:
            link.send(exchange.command, job.ends)
            lent.append((exchange, link, pool))
        except driver_errors() as error:
            _fail(exchange, error)
            pool.give(link)
            pool.clear()
        except BaseException:
            link.disconnect()
            pool.give(link)
            raise

    def _lent(self, exchange: Exchange, address: Address, job: ReadJob) -> tuple[Pool, Any]:
        """Return an open connection and its pool."""
        pool = self._pool(address, Pool)
        link = pool.take(job.ends)
        exchange.on_idle = link.is_open
        if not exchange.on_idle:
            pool.open(link, job.ends, self._patience)
        return pool, link


class AsyncTransport(_Routes):
    """Reads of one event loop."""

    async def run(self, job: ReadJob) -> Rows:
        """Do a job, as `Transport.run`."""
        while job.goes_on:
            if self.topology.known or await self._find_out(job):
                await asyncio.gather(*(self._exchange(e, job) for e in job.exchanges()))
                job.settle()
            if job.goes_on and job.pause:
                await asyncio.sleep(job.pause)
        return job.result()

    async def close(self) -> None:
        """Close what is idle."""
        for pool in self._pools.values():
            await pool.close()

    def forget(self) -> None:
        """Give up what is idle, in a loop that is closed: nothing is awaited, and sockets close when collected."""
        for pool in self._pools.values():
            pool.forget()

    async def _find_out(self, job: ReadJob) -> bool:
        error: Exception = driver().ConnectionError(self.topology.nobody_knows)
        for address, share in self._to_ask(job.ends):
            pool = self._pool(address, AsyncPool, to_ask=True)
            try:
                link = await pool.take(share)
                if not link.is_open:
                    await pool.open(link, share, self._patience)
                try:
                    if self._learn(await link.ask(self.topology.question, share), address):
                        return True
                finally:
                    pool.give(link)
            except driver_errors() as failure:
                error = failure
        job.nobody_answers(error)
        return False

    async def _exchange(self, exchange: Exchange, job: ReadJob) -> None:
        if exchange.error is not None or exchange.address is None:
            return
        try:
            pool, link = await self._lent(exchange, exchange.address, job)
        except driver_errors() as error:
            _fail(exchange, error)
            return
        try:
            await link.exchange(exchange.command, exchange.replies, job.ends)
        except exchange_errors() as error:
            _fail(exchange, error)
            await pool.clear()
        finally:
            pool.give(link)

    async def _lent(self, exchange: Exchange, address: Address, job: ReadJob) -> tuple[AsyncPool, Any]:
        """Return an open connection and its pool, as `Transport._lent`."""
        pool = self._pool(address, AsyncPool)
        link = await pool.take(job.ends)
        exchange.on_idle = link.is_open
        if not exchange.on_idle:
            await pool.open(link, job.ends, self._patience)
        return pool, link


def _fail(exchange: Exchange, error: Exception) -> None:
    known = isinstance(error, driver_errors())
    exchange.error = error if known else driver().InvalidResponse(str(error))


def _flavour(kind: type[Any], *, asynchronous: bool) -> type[Any]:
    """Return the driver's connection class of one name, blocking or not."""
    if not asynchronous:
        return kind
    import redis.asyncio.connection as flavours

    return getattr(flavours, kind.__name__)  # type: ignore[no-any-return]
