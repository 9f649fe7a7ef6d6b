"""Reading rows."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from weakref import finalize

from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online.contract import Keeper, Leases
from fs_core.online.redis.complaints import said_as_ours
from fs_core.online.redis.connection import Connecting
from fs_core.online.redis.driver import driver_errors
from fs_core.online.redis.job import ReadJob, Rows
from fs_core.online.redis.tracking import Tracking
from fs_core.online.redis.transport import AsyncTransport, Transport


class Reading(Connecting):
    """The read half of the store."""

    def __init__(self, url: str, *, project: str, timeout: float = 1.0, connections: int = 32) -> None:
        super().__init__(url, project=project, timeout=timeout, connections=connections)
        self._transports: dict[int, Transport] = {}
        self._trackings: dict[int, Tracking] = {}
        self._async_transports: dict[asyncio.AbstractEventLoop, AsyncTransport] = {}

    def read(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], *, within: float | None = None
    ) -> list[list[bytes | None]]:
        """See `OnlineStore.read`."""
        transport = self._transport
        return self._run(transport, self._job(requests, transport, within), within)

    async def read_async(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], *, within: float | None = None
    ) -> list[list[bytes | None]]:
        """See `AwaitableReader.read_async`."""
        transport = self._async_transport
        return await self._run_async(transport, self._job(requests, transport, within), within)

    def read_leased(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], keeper: Keeper, *, within: float | None = None
    ) -> tuple[list[list[bytes | None]], Leases]:
        """See `LeasingReader.read_leased`."""
        if not any(keys for _, keys in requests):
            return self._nothing(requests)
        transport = self._transport
        job = self._job(requests, transport, within, keeper)
        return self._run(transport, job, within), job.leases()

    async def read_leased_async(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], keeper: Keeper, *, within: float | None = None
    ) -> tuple[list[list[bytes | None]], Leases]:
        """See `LeasingReader.read_leased_async`."""
        if not any(keys for _, keys in requests):
            return self._nothing(requests)
        transport = self._async_transport
        job = self._job(requests, transport, within, keeper)
        return await self._run_async(transport, job, within), job.leases()

    def close(self) -> None:
        """See `OnlineStore.close`; connections of event loops are closed by `aclose`, in their loops."""
        super().close()
        tracking = self._trackings.pop(os.getpid(), None)
        if tracking is not None:
            tracking.close()
        transport = self._transports.pop(os.getpid(), None)
        if transport is not None:
            transport.close()
        self._forget_closed_loops()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        transport = self._async_transports.pop(asyncio.get_running_loop(), None)
        if transport is not None:
            await transport.close()

    @property
    def _tracking(self) -> Tracking:
        """What this process is told of changes; a forked child listens on its own."""
        found = self._trackings.get(os.getpid())
        if found is None:
            made = Tracking(self._place, self._names, self._name)
            found = self._trackings.setdefault(os.getpid(), made)
            finalize(self, found.close).atexit = False
        return found

    def _nothing(self, requests: Sequence[tuple[str, Sequence[bytes]]]) -> tuple[Rows, Leases]:
        """Return what is read where everything is kept already."""
        self._tracking.retry()
        return [[] for _ in requests], [[] for _ in requests]

    @contextmanager
    def _changing(self, views: Sequence[str], keys: Sequence[bytes]) -> Iterator[None]:
        """Take it that this store changes rows, though it fail: its own reads see that before any server tells."""
        try:
            yield
        finally:
            tracking = self._trackings.get(os.getpid())
            if tracking is not None:
                for view in views:
                    tracking.drop(view, keys)

    def _run(self, transport: Transport, job: ReadJob, within: float | None) -> Rows:
        try:
            return transport.run(job)
        except driver_errors() as error:
            raise self._complaint(job, error, within) from error

    async def _run_async(self, transport: AsyncTransport, job: ReadJob, within: float | None) -> Rows:
        try:
            return await transport.run(job)
        except driver_errors() as error:
            raise self._complaint(job, error, within) from error

    @property
    def _transport(self) -> Transport:
        """This process's connections; a forked child opens its own."""
        found = self._transports.get(os.getpid())
        if found is None:
            found = self._transports.setdefault(os.getpid(), Transport(self._place, self._connections, self._timeout))
        return found

    @property
    def _async_transport(self) -> AsyncTransport:
        """The running event loop's connections."""
        loop = asyncio.get_running_loop()
        found = self._async_transports.get(loop)
        if found is None:
            self._forget_closed_loops()
            found = self._async_transports[loop] = AsyncTransport(self._place, self._connections, self._timeout)
        return found

    def _forget_closed_loops(self) -> None:
        """Give up the connections of loops that were closed without `aclose`, which live as long as they are known."""
        for loop in list(self._async_transports):
            left = self._async_transports.pop(loop, None) if loop.is_closed() else None
            if left is not None:
                left.forget()

    def _job(
        self,
        requests: Sequence[tuple[str, Sequence[bytes]]],
        transport: Transport | AsyncTransport,
        within: float | None,
        keeper: Keeper | None = None,
    ) -> ReadJob:
        ends = time.monotonic() + (self._timeout if within is None else within)
        tracking = None if keeper is None else self._tracking
        if tracking is not None and keeper is not None:
            tracking.expect(requests, keeper)
        return ReadJob(self._names, requests, transport.topology, ends, tracking)

    def _complaint(self, job: ReadJob, error: Exception, within: float | None) -> OnlineStoreError:
        late = within is not None and time.monotonic() >= job.ends
        ours = said_as_ours(error, self._name, part=job.part(error), late=late)
        if isinstance(ours, OnlineUnavailableError):
            ours.partial = job.partial()
        return ours
