"""Connections that read rows: the driver's, which know hosts, TLS, credentials and sockets, with a lean exchange.

The driver's own way with a command costs more than the server's: it packs each argument and parses each
reply one by one. Here a packed command goes out whole and the replies come back whole.
"""

from __future__ import annotations

import asyncio
import time
from functools import cache
from typing import Any

from fs_core.online.redis.driver import driver
from fs_core.online.redis.replies import Replies

_LAST_CHANCE = 0.001  # seconds: what has arrived by the deadline is still taken


class Link:
    """Mixed into a class of `redis.connection`. Every step ends at the moment `ends`, by `time.monotonic`."""

    lease: Any = None
    """What rows read through it are kept under; None where the server wasn't asked to tell of their changes."""
    owed: Replies | None = None
    """Replies that were late, and are on their way still."""
    _ends = _asked = 0.0

    def open(self: Any, ends: float) -> None:
        """Connect if need be."""
        self._ends = ends
        if self._sock is None:
            self.socket_timeout = self.socket_connect_timeout = _left(ends)
            self.connect()

    @property
    def is_open(self: Any) -> bool:
        """Whether it is connected."""
        return self._sock is not None

    @property
    def descriptor(self: Any) -> int:
        """The number of its socket."""
        return int(self._sock.fileno())

    @property
    def peer(self: Any) -> Any:
        """The address that it leads to."""
        return self._sock.getpeername()

    def disconnect(self: Any, *args: Any, **kwargs: Any) -> None:
        """Disconnect; the server forgets then what was read."""
        end_lease(self)
        super().disconnect(*args, **kwargs)  # type: ignore[misc]

    def send(self: Any, command: bytes, ends: float) -> None:
        """Send a packed command; it must be open."""
        self._ends, self._asked = ends, time.monotonic()
        self._sock.settimeout(_left(ends))
        self.send_packed_command((command,), check_health=False)

    def receive(self: Any, replies: Replies) -> None:
        """Read until the replies are complete; what breaks off in the middle breaks the connection.

        But not one with a lease, for with it ended all rows that were read before: what is late is then owed.
        """
        sock = self._sock
        try:
            sock.settimeout(_left(self._ends))
            replies.feed(_some(sock.recv(replies.wanted)))
            while not replies.done:
                sock.settimeout(_left(self._ends))
                replies.feed(_some(sock.recv(replies.wanted)))
            _prove(self)
        except TimeoutError:
            if not _postpone(self, replies):
                self.disconnect()
            raise driver().TimeoutError("no reply in time") from None
        except BaseException:
            self.disconnect()
            raise

    def catch_up(self: Any, ends: float) -> None:
        """Read what is owed."""
        if self.owed is not None:
            self._ends, owed, self.owed = ends, self.owed, None
            self.receive(owed)

    def ask(self: Any, question: tuple[str, ...], ends: float) -> Any:
        """Return the reply to a command of another kind."""
        self.open(ends)
        self.send_command(*question, check_health=False)
        return self.read_response()

    def read_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Do what the driver does, each step of connecting within what is left of the time."""
        if self._sock is not None:
            self._sock.settimeout(_left(self._ends))
        return super().read_response(*args, **kwargs)  # type: ignore[misc]


class AsyncLink:
    """Mixed into a class of `redis.asyncio.connection`; as `Link`, without blocking."""

    lease: Any = None
    owed: Replies | None = None
    _asked = 0.0

    @property
    def is_open(self: Any) -> bool:
        """Whether it is connected."""
        return bool(self.is_connected)

    @property
    def descriptor(self: Any) -> int:
        """The number of its socket."""
        return int(self._writer.get_extra_info("socket").fileno())

    @property
    def peer(self: Any) -> Any:
        """The address that it leads to."""
        return self._writer.get_extra_info("socket").getpeername()

    async def disconnect(self: Any, *args: Any, **kwargs: Any) -> None:
        """Disconnect; the server forgets then what was read."""
        end_lease(self)
        await super().disconnect(*args, **kwargs)  # type: ignore[misc]

    def __del__(self: Any, *args: Any) -> None:
        end_lease(self)
        super().__del__(*args)  # type: ignore[misc]

    async def open(self: Any, ends: float) -> None:
        """Connect if need be."""
        try:
            async with _until(ends):
                await self.connect()
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise driver().TimeoutError("connecting took too long") from None
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    async def exchange(self: Any, command: bytes, replies: Replies, ends: float) -> None:
        """Send a packed command and read until the replies are complete; it must be open."""
        if command:
            self._asked = time.monotonic()
        try:
            async with _until(ends):
                await self.send_packed_command((command,), check_health=False)
                while not replies.done:
                    replies.feed(_some(await self._reader.read(replies.wanted)))
            _prove(self)
        except BaseException as error:
            late = isinstance(error, TimeoutError | asyncio.CancelledError)
            if not late or not _postpone(self, replies):
                await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise driver().TimeoutError("no reply in time") from None
            raise

    async def catch_up(self: Any, ends: float) -> None:
        """Read what is owed."""
        if self.owed is not None:
            owed, self.owed = self.owed, None
            await self.exchange(b"", owed, ends)

    async def ask(self: Any, question: tuple[str, ...], ends: float) -> Any:
        """Return the reply to a command of another kind."""
        await self.open(ends)
        try:
            async with _until(ends):
                await self.send_command(*question, check_health=False)
                return await self.read_response()
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise driver().TimeoutError("no reply in time") from None


@cache
def link_class(kind: type) -> type:
    """Return a connection class of the driver with `Link`, or `AsyncLink`, mixed in."""
    mixin = AsyncLink if asyncio.iscoroutinefunction(kind.connect) else Link  # type: ignore[attr-defined]
    return type(f"{mixin.__name__}{kind.__name__}", (mixin, kind), {})


def _postpone(link: Any, replies: Replies) -> bool:
    """Let replies that are late come later, where the connection is worth it; tell whether it is."""
    if link.lease is None or not link.lease.live:
        return False
    link.owed = replies
    return True


def _prove(link: Any) -> None:
    if link.lease is not None:
        link.lease.proven = link._asked


def end_lease(link: Any) -> None:
    """Keep no longer what was read through a connection; no reply is owed any more."""
    lease, link.lease, link.owed = link.lease, None, None
    if lease is not None:
        lease.end()


def _some(data: bytes) -> bytes:
    if not data:
        raise driver().ConnectionError("the server closed the connection") from EOFError()
    return data


def _left(ends: float) -> float:
    return max(ends - time.monotonic(), _LAST_CHANCE)


def _until(ends: float) -> asyncio.Timeout:
    return asyncio.timeout(_left(ends))
