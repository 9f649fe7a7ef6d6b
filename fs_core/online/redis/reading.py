"""Reading rows."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online.redis.complaints import said_as_ours
from fs_core.online.redis.connection import Connecting
from fs_core.online.redis.driver import driver_errors
from fs_core.online.redis.job import ReadJob
from fs_core.online.redis.transport import AsyncTransport, Transport


class Reading(Connecting):
    """The read half of the store."""

    def __init__(self, url: str, *, project: str, timeout: float = 1.0, connections: int = 32) -> None:
        super().__init__(url, project=project, timeout=timeout, connections=connections)
        self._transports: dict[int, Transport] = {}
        self._async_transports: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncTransport] = WeakKeyDictionary()

    def read(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], *, within: float | None = None
    ) -> list[list[bytes | None]]:
        """See `OnlineStore.read`."""
        transport = self._transport
        job = self._job(requests, transport, within)
        try:
            return transport.run(job)
        except driver_errors() as error:
            raise self._complaint(job, error, within) from error

    async def read_async(
        self, requests: Sequence[tuple[str, Sequence[bytes]]], *, within: float | None = None
    ) -> list[list[bytes | None]]:
        """See `AwaitableReader.read_async`."""
        transport = self._async_transport
        job = self._job(requests, transport, within)
        try:
            return await transport.run(job)
        except driver_errors() as error:
            raise self._complaint(job, error, within) from error

    def close(self) -> None:
        """See `OnlineStore.close`; connections of event loops are closed by `aclose`, in their loops."""
        super().close()
        transport = self._transports.pop(os.getpid(), None)
        if transport is not None:
            transport.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        transport = self._async_transports.pop(asyncio.get_running_loop(), None)
        if transport is not None:
            await transport.close()

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
            found = self._async_transports[loop] = AsyncTransport(self._place, self._connections, self._timeout)
        return found

    def _job(
        self,
        requests: Sequence[tuple[str, Sequence[bytes]]],
        transport: Transport | AsyncTransport,
        within: float | None,
    ) -> ReadJob:
        ends = time.monotonic() + (self._timeout if within is None else within)
        return ReadJob(self._names, requests, transport.topology, ends)

    def _complaint(self, job: ReadJob, error: Exception, within: float | None) -> OnlineStoreError:
        late = within is not None and time.monotonic() >= job.ends
        ours = said_as_ours(error, self._name, part=job.part(error), late=late)
        if isinstance(ours, OnlineUnavailableError):
            ours.partial = job.partial()
        return ours
