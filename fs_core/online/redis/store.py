"""The online store on Redis or Valkey: rows, watermarks, and in which condition the servers are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from fs_core.configuration import for_pickle, from_pickle
from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online.contract import Additions, OnlineRows, OnlineWrite, timeline_name
from fs_core.online.redis.client import open_client
from fs_core.online.redis.cluster_watermarks import ClusterWatermarks
from fs_core.online.redis.errors import driver, driver_errors, online_error
from fs_core.online.redis.names import Names
from fs_core.online.redis.reads.protocol import PlainNames, Read, Requests, RowNames, Rows
from fs_core.online.redis.reads.reader import AsyncReader, Reader
from fs_core.online.redis.scripts import ROWS_A_CALL, delete_calls, is_cluster, replies, run, splice_calls, write_calls
from fs_core.online.redis.topology import SLOTS
from fs_core.online.redis.url import RedisURL, parse, shown
from fs_core.runtime.per_process import PerProcess

_SCAN_COUNT = 1000


class RedisOnlineStore:
    """Latest rows on a Redis or Valkey server, 6.2 or newer. See `OnlineStore` for what is promised.

    The server should run with `maxmemory-policy noeviction`: one that evicts rows may keep the
    watermark, and then nobody knows that they are gone; `materialize` warns of it where the user has `+info`. On a
    cluster, 64 small keys for each view show when a node lost rows (`fs_core.online.redis.cluster_watermarks`); of
    nodes with fewer than 271 slots in sequence, perhaps not.

    Collection. A row carries the moment from which the server may forget it. What is forgotten shadows
    nothing and brings nothing back, even if that moment is past when the row arrives (the server then
    drops it at once, with the row it replaced): within a view that moment grows with the event time, so
    whatever the row beat, then or later, is past its own moment as well.

    Args:
        url: `redis://`, `rediss://`, `unix://`, `valkey://` or `valkeys://`, with the options that
            redis-py reads from it.
        project: whose rows these are: letters, digits, `_`, `.` and `-`, 64 at most.
        timeout: seconds to wait for a connection, and for each reply, where the URL says nothing (`?timeout=`); a
            read's own deadline bounds all of it. A command is tried twice.
        connections: how many connections to a server at most, where the URL says nothing (`?max_connections=`);
            further callers wait for one. Reads have as many, and all else.

    Raises:
        ConfigurationError: the project's name can't be used.
    """

    def __init__(self, url: str, *, project: str, timeout: float = 1.0, connections: int = 32) -> None:
        self._settings: dict[str, Any] = {
            "url": url,
            "project": project,
            "timeout": timeout,
            "connections": connections,
        }
        self._names = Names(project)
        self._clients = PerProcess(lambda: open_client(self._url))
        self._readers = PerProcess(lambda: Reader(self._url))
        self._async_readers: dict[asyncio.AbstractEventLoop, AsyncReader] = {}

    def __repr__(self) -> str:
        return f"RedisOnlineStore({self._name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), {**self._settings, "url": for_pickle(str(self._settings["url"]))})

    @property
    def key_patterns(self) -> tuple[str, str]:
        """Globs that match the project's rows, and all else it keeps, such as watermarks; for access control.

        Of two projects on one server the first may be the same, by a chance of 1 to 262,144: compare them where
        one's users must not reach the other's rows. The rows don't meet even then.
        """
        return self._names.patterns

    def read(self, requests: Requests, *, within: float | None = None) -> Rows:
        """See `OnlineStore.read`."""
        return self._run(self._new_read(RowNames(self._names, requests), within), within)

    async def read_async(self, requests: Requests, *, within: float | None = None) -> Rows:
        """See `AwaitableReader.read_async`."""
        read = self._new_read(RowNames(self._names, requests), within)
        try:
            return await self._async_reads.run(read)
        except driver_errors() as error:
            raise self._failed(read, error, within) from error

    def write(self, view: str, rows: Sequence[OnlineWrite], *, additions: Additions | None = None) -> int:
        """See `OnlineStore.write`."""
        columns = OnlineRows.of(rows)
        views = (view,) if additions is None else (view, timeline_name(view))
        names = [self._names.rows(columns.keys, name) for name in views]
        with self._errors():
            return run(self._client, "write", write_calls(names, columns, additions, self._rows_a_call))

    def splice(self, view: str, keys: Sequence[bytes], held: Sequence[bytes], values: Sequence[bytes]) -> list[int]:
        """See `OnlineStore.splice`."""
        calls = splice_calls(self._names.rows(keys, view), held, values, self._rows_a_call)
        with self._errors():
            return [int(length) for reply in replies(self._client, "splice", calls) for length in reply]

    def scan(self, view: str) -> Iterator[OnlineRows]:
        """See `OnlineStore.scan`."""
        for names in self._scanned(view):
            keys = [self._names.key(name) for name in names]
            there = [(key, row) for key, row in zip(keys, self.read([(view, keys)])[0], strict=True) if row is not None]
            yield OnlineRows([key for key, _ in there], [row for _, row in there])

    def delete(self, view: str, keys: Sequence[bytes], rows: Sequence[bytes] | None = None) -> int:
        """See `OnlineStore.delete`."""
        names = self._names.rows(keys, view)
        with self._errors():
            if rows is None:
                deleted = self._unlink(names)
            else:
                deleted = run(self._client, "delete", delete_calls(names, rows, self._rows_a_call))
            # Afterwards: a writer that comes in between would begin a timeline with the row that is to be deleted.
            self._unlink(self._names.rows(keys, timeline_name(view)))
            return deleted

    def drop(self, view: str) -> int:
        """See `OnlineStore.drop`.

        The server's keys are walked through, in steps that hold nobody up: a set of each view's keys would
        take as much memory again as a third of the rows, at every moment, to save a walk now and then.
        """
        with self._errors():
            self._client.unlink(self._names.watermark(view))
            for names in self._scanned(timeline_name(view)):
                self._client.unlink(*names)
            dropped = sum(int(self._client.unlink(*names)) for names in self._scanned(view))
            if self._cluster_watermarks is not None:
                self._client.unlink(*self._cluster_watermarks.witnesses(view))
            self._client.unlink(self._names.watermark(view))  # again: a run that began meanwhile has lost rows
            return dropped

    def watermark(self, view: str) -> str | None:
        """See `OnlineStore.watermark`."""
        found: Any
        with self._errors():
            if self._cluster_watermarks is not None:
                found = self._cluster_watermarks.get(view)
            else:
                found = self._client.get(self._names.watermark(view))
        return None if found is None else found.decode(errors="surrogateescape")  # damaged ones as well

    def swap_watermark(self, view: str, held: str | None, text: str) -> bool:
        """See `OnlineStore.swap_watermark`."""
        before, after = ((it or "").encode(errors="surrogateescape") for it in (held, text))
        with self._errors():
            if self._cluster_watermarks is not None:
                return self._cluster_watermarks.swap(view, before, after)
            return bool(run(self._client, "swap", [([self._names.watermark(view)], [before, after])]))

    def refuse_unready(self) -> None:
        """See `DividedStore.refuse_unready`."""
        with self._errors():
            for name in self._probes():
                self._client.set(name, b"", xx=True)  # of a key that never is: refused as any other, and does nothing

    def eviction(self, *, expiring: bool) -> str | None:
        """See `EvictingStore.eviction`; the user needs `+info` for it."""
        with self._errors():
            found = [server.info("memory") for server in self._masters()]
        policies = [str(memory.get("maxmemory_policy", "")) for memory in found if int(memory.get("maxmemory", 0))]
        deleting = ("allkeys-", "volatile-") if expiring else ("allkeys-",)
        return next((policy for policy in policies if policy.startswith(deleting)), None)

    def close(self) -> None:
        """See `OnlineStore.close`; connections of event loops are closed by `aclose`, in their loops."""
        for opened in (self._clients.take(), self._readers.take()):
            if opened is not None:
                opened.close()
        self._forget_closed_loops()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        reader = self._async_readers.pop(asyncio.get_running_loop(), None)
        if reader is not None:
            await reader.close()

    @cached_property
    def _name(self) -> str:
        return shown(self._settings["url"])

    @cached_property
    def _url(self) -> RedisURL:
        limits = {name: self._settings[name] for name in ("timeout", "connections")}
        return parse(self._settings["url"], **limits)

    @property
    def _client(self) -> Any:
        """This process's client for all that isn't a read."""
        return self._clients.get()

    @property
    def _reads(self) -> Reader:
        """This process's connections to read through."""
        return self._readers.get()

    @property
    def _async_reads(self) -> AsyncReader:
        """The running event loop's connections."""
        loop = asyncio.get_running_loop()
        found = self._async_readers.get(loop)
        if found is None:
            self._forget_closed_loops()
            found = self._async_readers[loop] = AsyncReader(self._url)
        return found

    def _forget_closed_loops(self) -> None:
        """Drop the connections of loops that were closed without `aclose`: they stay open as long as they are known."""
        for loop in list(self._async_readers):
            if loop.is_closed():
                self._async_readers.pop(loop, None)

    @cached_property
    def _cluster_watermarks(self) -> ClusterWatermarks | None:
        """The watermarks, where some rows may be lost while others and the watermark stay."""
        if self._url.kind != "cluster":
            return None
        return ClusterWatermarks(self._name, self._names, self._clients.get, self._answered)

    @property
    def _rows_a_call(self) -> int:
        return 1 if is_cluster(self._client) else ROWS_A_CALL  # names of one call share a slot

    def _new_read(self, wanted: RowNames, within: float | None) -> Read:
        return Read(wanted, time.monotonic() + (self._url.timeout if within is None else within))

    def _run(self, read: Read, within: float | None) -> Rows:
        try:
            return self._reads.run(read)
        except driver_errors() as error:
            raise self._failed(read, error, within) from error

    def _failed(self, read: Read, error: Exception, within: float | None) -> OnlineStoreError:
        late = within is not None and time.monotonic() >= read.ends
        ours = online_error(error, self._name, part=read.about(error), late=late)
        if isinstance(ours, OnlineUnavailableError):
            ours.partial = read.partial()
        return ours

    def _answered(self, names: list[bytes]) -> dict[bytes, bytes | None]:
        """Return the values of names whose node answers; raise where the first one's doesn't."""
        try:
            (values,) = self._run(self._new_read(PlainNames(names), None), None)
        except OnlineUnavailableError as error:
            if error.partial is None or error.partial.unread[0] is None or error.partial.unread[0][0]:
                raise
            unread, values = error.partial.unread[0], error.partial.rows[0]
            return {name: value for name, value, lost in zip(names, values, unread, strict=True) if not lost}
        return dict(zip(names, values, strict=True))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise our errors for the driver's."""
        kinds = driver_errors()
        try:
            yield
        except kinds as error:
            raise online_error(error, self._name) from error

    def _unlink(self, names: Sequence[bytes]) -> int:
        parts = range(0, len(names), ROWS_A_CALL)
        return sum(int(self._client.unlink(*names[start : start + ROWS_A_CALL])) for start in parts)

    def _scanned(self, view: str) -> Iterator[list[bytes]]:
        """Yield the names of a view's rows, up to a thousand at a time or few more."""
        batch = list[bytes]()
        with self._errors():
            for name in self._client.scan_iter(match=self._names.pattern(view), count=_SCAN_COUNT):
                batch.append(name)
                if len(batch) >= _SCAN_COUNT:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _masters(self) -> list[Any]:
        """Return a client of each server that takes rows."""
        client = self._client
        if not is_cluster(client):
            return [client]
        return [client.get_redis_connection(node) for node in client.get_primaries()]

    def _probes(self) -> Iterator[bytes]:
        """Yield a name of each server's, under which nothing is ever kept."""
        client = self._client
        if not is_cluster(client):
            yield self._names.probe(0)
            return
        serving = client.nodes_manager.slots_cache
        if len(serving) < SLOTS:
            raise driver().ClusterDownError(f"no node serves {SLOTS - len(serving):,} of its slots")
        left = {nodes[0].name for nodes in serving.values()}
        number = 0
        while left:
            name = self._names.probe(number)
            owner = serving[client.keyslot(name)][0].name
            if owner in left:
                left.remove(owner)
                yield name
            number += 1


def _reopen(kind: type[RedisOnlineStore], settings: dict[str, Any]) -> RedisOnlineStore:
    """Open a store in another process; a password was left out, and comes from the environment."""
    return kind(**{**settings, "url": from_pickle("online", settings["url"])})
