"""uvicorn's protocol, with limits for what clients send beside bodies, and for how long they keep a connection."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fs_core.server.problems import RefusedError, problem_of
from fs_core.server.settings import Settings

_BESIDE = 64 * 1024  # bytes of a request that may come beside its body, and 8 more for each of the body's
_AROUND = 8


class LimitedProtocol(HttpToolsProtocol):
    """Closes connections that uvicorn itself would keep for ever.

    They are those whose next request doesn't begin in time, whose heads or trailers don't end, and those on which
    nobody takes the answers.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seconds = Settings.handed_down().timeout
        self._head: asyncio.TimerHandle | None = None
        self._untaken: asyncio.TimerHandle | None = None
        self._room, self._head_bytes = _BESIDE, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._head = self.loop.call_later(self._seconds, self._close)

    def data_received(self, data: bytes) -> None:
        """Wait for the head's end, once it has begun."""
        self._room -= len(data)
        super().data_received(data)
        if self._room < 0 and not self.transport.is_closing():
            self._refuse()
            return
        is_whole = self.cycle is not None and not self.cycle.response_complete
        if is_whole and self._head is not None:
            self._head.cancel()
            self._head = None
        elif not is_whole and self._head is None:
            self._head = self.loop.call_later(self._seconds, self._close)

    def on_message_begin(self) -> None:
        """Count anew."""
        self._room, self._head_bytes = _BESIDE, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the head's bytes."""
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the head's bytes."""
        self._head_bytes += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin with the request, unless its head was too long: then nothing is done of what it asks."""
        if self._head_bytes > _BESIDE:
            self._refuse()
        elif not self.transport.is_closing():  # else it stood behind one that was refused
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request, if it was begun."""
        if not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for a client to take the last answer of a connection."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._wait_until_taken()

    def on_body(self, body: bytes) -> None:
        """Count what may have come around it."""
        if self.transport.is_closing():
            return
        self._room = min(self._room + _AROUND * len(body), _BESIDE)
        super().on_body(body)

    def pause_writing(self) -> None:
        """Begin to wait for a client that doesn't take its answer."""
        super().pause_writing()
        self._wait_until_taken()

    def resume_writing(self) -> None:
        """Wait no longer: it takes it; unless this is the last answer, of which some is left."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_waiting()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, also where the last answer isn't taken."""
        super().timeout_keep_alive_handler()
        self._wait_until_taken()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        self._stop_waiting()
        if self._head is not None:
            self._head.cancel()

    def _close(self) -> None:
        """Close the connection, at the latest in so many seconds, whether what was written is taken or not."""
        self.transport.close()
        self._wait_until_taken()

    def _wait_until_taken(self) -> None:
        if self._untaken is None and self.transport.get_write_buffer_size():
            self._untaken = self.loop.call_later(self._seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def _refuse(self) -> None:
        """Say that too much came beside bodies, if no answer is on its way, and close the connection."""
        if self.cycle is None or self.cycle.response_complete:
            body = bytes(problem_of(RefusedError(431, f"A head has {_BESIDE:,} bytes at most. Send less.")).body)
            head = "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/problem+json\r\n"
            self.transport.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        self._close()
