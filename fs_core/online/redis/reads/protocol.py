"""One read of rows, step by step: whom to ask what, what came back, whether to try again. No input or output here.

    read = Read(RowNames(names, requests), ends)
    while read.goes_on:
        for exchange in read.exchanges(topology): ...   # send, receive; or exchange.error = what went wrong
        read.settle()                                   # then pause for read.pause seconds
    rows = read.result()

One server is sent one MGET, packed whole; the driver would pack each name by itself. A node of a cluster is sent
a GET for each of its rows, at once, for names of one command must share a slot.
Protocol: https://redis.io/docs/latest/develop/reference/protocol-spec
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from fs_core.online.contract import PartialRead
from fs_core.online.redis.errors import driver, driver_errors
from fs_core.online.redis.names import Names
from fs_core.online.redis.topology import Topology
from fs_core.online.redis.url import Address

T = TypeVar("T")

_TRIES = 3
_PAUSE = 0.01  # seconds; what is paused is between half and one and a half of it, doubled each time

_ROWS = {bytes, type(None)}

Requests = Sequence[tuple[str, Sequence[bytes]]]
Rows = list[list[bytes | None]]


class RowNames:
    """The names of the rows that are read, and the one command that reads them.

    Args:
        names: the project's names.
        requests: views, with the keys that are wanted of each.

    Attributes:
        count: how many they are.
    """

    def __init__(self, names: Names, requests: Requests) -> None:
        self._names, self._requests = names, requests
        self.count = sum([len(keys) for _, keys in requests])

    def listed(self) -> list[bytes]:
        """Return the names, in the order of the requests."""
        return [name for view, keys in self._requests for name in self._names.rows(keys, view)]

    def mget(self) -> bytes:
        """Return one packed command for all of them."""
        parts = [self._names.arguments(keys, view) for view, keys in self._requests if keys]
        return b"*%d\r\n$4\r\nMGET\r\n%b" % (1 + self.count, b"".join(parts))

    def by_request(self, items: list[T]) -> list[list[T]]:
        """Return items, one for each name, request by request."""
        if len(self._requests) == 1:
            return [items]
        parts, start = [], 0
        for _, keys in self._requests:
            parts.append(items[start : start + len(keys)])
            start += len(keys)
        return parts


class PlainNames(RowNames):
    """Names that are no rows', read together."""

    def __init__(self, names: list[bytes]) -> None:
        self._requests, self._listed, self.count = [("", names)], names, len(names)

    def listed(self) -> list[bytes]:
        """Return the names."""
        return self._listed

    def mget(self) -> bytes:
        """Return one packed command for all of them."""
        parts = [b"$%d\r\n%b\r\n" % (len(name), name) for name in self._listed]
        return b"*%d\r\n$4\r\nMGET\r\n%b" % (1 + self.count, b"".join(parts))


@dataclass
class Exchange:
    """What is sent to one server, and what comes back.

    Attributes:
        address: the server; None where nobody knows it.
        command: the packed commands.
        expected: how many replies they have.
        positions: which of the read's names they answer; None for all, by one array.
        replies: what came back: a row, None for no row, an error of the server's, or the array of all.
        error: what went wrong.
        on_idle: whether the connection had been idle, so that the server may have closed it long ago.
    """

    address: Address | None
    command: bytes
    expected: int = 1
    positions: Sequence[int] | None = None
    replies: list[Any] = field(default_factory=list)
    error: Exception | None = None
    on_idle: bool = False

    def fail(self, error: Exception) -> None:
        """Note what went wrong, as an error of the driver's; any other is of bytes that are no replies."""
        self.error = error if isinstance(error, driver_errors()) else driver().InvalidResponse(str(error))


class Read:
    """See the module.

    Args:
        wanted: what is read.
        ends: when to have given up, by `time.monotonic`.

    Attributes:
        failures: what went wrong at the last try, errors of the driver's by server; None is for slots without one.
        goes_on: whether to try, or try again.
        pause: how many seconds to wait before that.
    """

    def __init__(self, wanted: RowNames, ends: float) -> None:
        self.wanted, self.ends = wanted, ends
        self.failures: dict[Address | None, Exception] = {}
        self.pause = 0.0
        self.goes_on = wanted.count > 0
        self._tries = 0
        self._sent: list[Exchange] = []
        self._rows: list[Any] = []
        self._names: list[bytes] = []
        self._open: Sequence[int] | None = None  # positions of what isn't read yet; None for all

    def exchanges(self, topology: Topology) -> list[Exchange]:
        """Return what to send now, each to another server."""
        if topology.owners is None:
            self._sent = [Exchange(topology.servers[0], self.wanted.mget())]
        else:
            self._sent = self._by_server(topology)
        return self._sent

    def fail(self, error: Exception) -> None:
        """Take note that nobody can say who has which rows."""
        self._sent, self.failures = [], {None: error}
        self._decide()

    def settle(self) -> None:
        """Take in what came back; decide whether to go on."""
        left: list[int] = []
        self.failures = {}
        for exchange in self._sent:
            self._take(exchange, left)
        self._open = left
        if self.failures:
            self._decide()
        else:
            self.goes_on = False

    def give_up_if_late(self) -> None:
        """Don't go on where the time is up."""
        self.goes_on &= time.monotonic() < self.ends

    def result(self) -> Rows:
        """Return the rows.

        Raises:
            Exception: the driver's, of a server that didn't answer; `partial` holds what others had.
        """
        if self.failures:
            raise next(iter(self.failures.values()))
        return self.wanted.by_request(self._rows)

    def about(self, error: Exception) -> str:
        """Return which node of a cluster an error is about; nothing where there is no cluster."""
        if not self._names:
            return ""
        address = next((address for address, failure in self.failures.items() if failure is error), None)
        return f"node {address[0]}:{address[1]}" if address else "slots that no node serves"

    def partial(self) -> PartialRead | None:
        """Return what was read where not all of it could be; None if nothing was."""
        count = self.wanted.count
        if not self._rows or self._open is None or len(self._open) == count:
            return None
        unread = np.zeros(count, bool)
        unread[list(self._open)] = True
        parts = [np.array(part, bool) for part in self.wanted.by_request(unread.tolist())]
        return PartialRead(self.wanted.by_request(self._rows), [part if part.any() else None for part in parts])

    def _by_server(self, topology: Topology) -> list[Exchange]:
        if not self._names:
            self._names = self.wanted.listed()
            self._rows = [None] * len(self._names)
        wanted = range(len(self._names)) if self._open is None else self._open
        routed = topology.route([self._names[position] for position in wanted])
        made = []
        for address, chosen in routed.items():
            positions = [wanted[i] for i in chosen]
            command = _gets([self._names[position] for position in positions])
            made.append(Exchange(address, command, len(positions), positions))
            if address is None:
                made[-1].error = driver().ClusterDownError("no node serves some of the slots")
        return made

    def _take(self, exchange: Exchange, left: list[int]) -> None:
        if exchange.positions is None:
            self._take_array(exchange, left)
        elif exchange.error is not None:
            self.failures[exchange.address] = exchange.error
            left += exchange.positions
        else:
            for position, reply in zip(exchange.positions, exchange.replies, strict=True):
                if isinstance(reply, Exception):
                    self.failures[exchange.address] = reply
                    left.append(position)
                else:
                    self._rows[position] = reply

    def _take_array(self, exchange: Exchange, left: list[int]) -> None:
        reply = exchange.replies[0] if exchange.replies else None
        if (
            exchange.error is None
            and type(reply) is list
            and len(reply) == self.wanted.count
            and type(reply[0]) in _ROWS
        ):
            self._rows = reply
            return
        wrong = reply if isinstance(reply, Exception) else None
        unknown = f"it sent {reply!r:.60} instead of {self.wanted.count} rows"
        self.failures[exchange.address] = exchange.error or wrong or driver().InvalidResponse(unknown)
        left += range(self.wanted.count)

    def _decide(self) -> None:
        """Go on if trying again may help and there is time for it."""
        self._tries += 1
        hopeful = any(_may_pass(error) for error in self.failures.values())
        # A server that was restarted closes what was idle: that one is worth another try at once.
        stale = any(exchange.on_idle and exchange.error is not None for exchange in self._sent)
        self.pause = 0.0 if stale and self._tries == 1 else _PAUSE * 2 ** (self._tries - 1) * random.uniform(0.5, 1.5)  # noqa: S311
        self.goes_on = hopeful and self._tries < _TRIES and time.monotonic() + self.pause < self.ends


def _gets(names: Sequence[bytes]) -> bytes:
    """Return one packed command for each name."""
    return b"".join([b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(name), name) for name in names])


def _may_pass(error: Exception) -> bool:
    errors = driver().exceptions
    if isinstance(error, errors.AuthenticationError | errors.AuthorizationError):
        return False
    passing = errors.ConnectionError, errors.MovedError, errors.AskError, errors.TryAgainError, errors.ClusterDownError
    return isinstance(error, (*passing, errors.TimeoutError, OSError))
