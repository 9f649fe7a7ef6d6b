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

    _ends = 0.0

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

    def send(self: Any, command: bytes, ends: float) -> None:
        """Send a packed command; it must be open."""
        self._ends = ends
        self._sock.settimeout(_left(ends))
        self.send_packed_command((command,), check_health=False)

    def receive(self: Any, replies: Replies) -> None:
        """Read until the replies are complete; what breaks off in the middle breaks the connection."""
        sock = self._sock
        try:
            sock.settimeout(_left(self._ends))
            replies.feed(_some(sock.recv(replies.wanted)))
            while not replies.done:
                sock.settimeout(_left(self._ends))
                replies.feed(_some(sock.recv(replies.wanted)))
        except TimeoutError:
            self.disconnect()
            raise driver().TimeoutError("no reply in time") from None
        except BaseException:
            self.disconnect()
            raise

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

    @property
    def is_open(self: Any) -> bool:
        """Whether it is connected."""
        return bool(self.is_connected)

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
        try:
            async with _until(ends):
                await self.send_packed_command((command,), check_health=False)
                while not replies.done:
                    replies.feed(_some(await self._reader.read(replies.wanted)))
        except BaseException as error:
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise driver().TimeoutError("no reply in time") from None
            raise

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


def _some(data: bytes) -> bytes:
    if not data:
        raise driver().ConnectionError("the server closed the connection") from EOFError()
    return data


def _left(ends: float) -> float:
    return max(ends - time.monotonic(), _LAST_CHANCE)


def _until(ends: float) -> asyncio.Timeout:
    return asyncio.timeout(_left(ends))
