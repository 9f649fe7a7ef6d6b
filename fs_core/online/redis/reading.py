"""Reading rows."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online.redis.complaints import said_as_ours
from fs_core.online.redis.connection import Connecting
from fs_core.online.redis.driver import driver_errors
from fs_core.online.redis.job import ReadJob, Rows
from fs_core.online.redis.transport import AsyncTransport, Transport


class Reading(Connecting):
    """The read half of the store."""

    def __init__(self, url: str, *, project: str, timeout: float = 1.0, connections: int = 32) -> None:
        super().__init__(url, project=project, timeout=timeout, connections=connections)
        self._transports: dict[int, Transport] = {}
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

    def close(self) -> None:
        """See `OnlineStore.close`; connections of event loops are closed by `aclose`, in their loops."""
        super().close()
        transport = self._transports.pop(os.getpid(), None)
        if transport is not None:
            transport.close()
        self._forget_closed_loops()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        transport = self._async_transports.pop(asyncio.get_running_loop(), None)
        if transport is not None:
            await transport.close()

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
    ) -> ReadJob:
        ends = time.monotonic() + (self._timeout if within is None else within)
        return ReadJob(self._names, requests, transport.topology, ends)

    def _complaint(self, job: ReadJob, error: Exception, within: float | None) -> OnlineStoreError:
        late = within is not None and time.monotonic() >= job.ends
        ours = said_as_ours(error, self._name, part=job.part(error), late=late)
        if isinstance(ours, OnlineUnavailableError):
            ours.partial = job.partial()
        return ours
