"""uvicorn's protocol, with a limit for how long a client may take to send the head of a request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fs_core.server.settings import Settings


class LimitedProtocol(HttpToolsProtocol):
    """Closes a connection whose next request doesn't begin in time: uvicorn itself would keep it for ever."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seconds = Settings.handed_down().timeout
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._head = self.loop.call_later(self._seconds, transport.close)

    def data_received(self, data: bytes) -> None:
        """Wait for the head's end, once it has begun."""
        super().data_received(data)
        is_whole = self.cycle is not None and not self.cycle.response_complete
        if is_whole and self._head is not None:
            self._head.cancel()
            self._head = None
        elif not is_whole and self._head is None:
            self._head = self.loop.call_later(self._seconds, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        if self._head is not None:
            self._head.cancel()
