"""One read of rows, step by step: whom to ask what, what came back, whether to try again. No input or output here.

job = ReadJob(names, requests, topology, ends)
while job.goes_on:
    for exchange in job.exchanges(): ...    # send, receive; or exchange.error = what went wrong
    job.settle()                            # then pause for job.pause seconds
rows = job.result()
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fs_core.online.contract import PartialRead
from fs_core.online.redis.driver import driver
from fs_core.online.redis.naming import Names
from fs_core.online.redis.places import Address
from fs_core.online.redis.replies import Replies, gets, mget
from fs_core.online.redis.topology import OneServer

_TRIES = 3
_PAUSE = 0.01  # seconds; what is paused is between half and one and a half of it, doubled each time

Requests = Sequence[tuple[str, Sequence[bytes]]]
Rows = list[list[bytes | None]]


@dataclass
class Exchange:
    """One command to one server.

    Attributes:
        address: the server; None where nobody knows it.
        command: the packed command.
        replies: its replies, as they come in.
        places: which of the job's names they answer; None for all.
        error: what went wrong.
        on_idle: whether the connection had been idle, so that the server may have closed it long ago.
    """

    address: Address | None
    command: bytes
    replies: Replies
    places: Sequence[int] | None = None
    error: Exception | None = None
    on_idle: bool = False


class ReadJob:
    """See the module.

    Args:
        names: the project's names.
        requests: what is read.
        topology: who has it.
        ends: when to have given up, by `time.monotonic`.
    """

    def __init__(self, names: Names, requests: Requests, topology: OneServer, ends: float) -> None:
        self.names, self.requests, self.topology, self.ends = names, requests, topology, ends
        self.failures: dict[Address | None, Exception] = {}
        self.pause = 0.0
        self._count = sum(len(keys) for _, keys in requests)
        self.goes_on = self._count > 0
        self._tries = 0
        self._sent: list[Exchange] = []
        self._rows: list[Any] = []
        self._all: list[bytes] = []
        self._open: Sequence[int] | None = None

    def exchanges(self) -> list[Exchange]:
        """Return what to send now, to different servers."""
        if self.topology.in_arrays:
            (address,) = self.topology.route(())
            self._sent = [Exchange(address, mget(self.names, self.requests), Replies(self._count, array=True))]
        else:
            self._sent = self._grouped()
        return self._sent

    def nobody_answers(self, error: Exception) -> None:
        """Take it that who has which rows can't be found out."""
        self.failures = {None: error}
        self._sent = []
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

    def result(self) -> Rows:
        """Return the rows.

        Raises:
            Exception: the driver's, of a server that didn't answer; `partial` holds what others said.
        """
        if not self.failures:
            return self._cut(self._rows)
        error = next(iter(self.failures.values()))
        raise error

    def part(self, error: Exception) -> str:
        """Return which server an error is about, where there are several; else nothing."""
        if self.topology.in_arrays:
            return ""
        address = next((address for address, failure in self.failures.items() if failure is error), None)
        return f"node {address[0]}:{address[1]}" if address else "slots that no node serves"

    def partial(self) -> PartialRead | None:
        """Return what was read where not all of it could be; None if nothing was."""
        if not self._rows or self._open is None or len(self._open) == self._count:
            return None
        unread = np.zeros(self._count, bool)
        unread[list(self._open)] = True
        ends = np.cumsum([len(keys) for _, keys in self.requests])[:-1]
        return PartialRead(self._cut(self._rows), [part if part.any() else None for part in np.split(unread, ends)])

    def _grouped(self) -> list[Exchange]:
        if not self._all:
            self._all = [n for view, keys in self.requests for n in self.names.rows(keys, view)]
            self._rows = [None] * self._count
        wanted = range(self._count) if self._open is None else self._open
        routed = self.topology.route([self._all[place] for place in wanted])
        made = []
        for address, chosen in routed.items():
            places = [wanted[i] for i in chosen]
            command = gets([self._all[place] for place in places])
            made.append(Exchange(address, command, Replies(len(places), array=False), places))
            if address is None:
                made[-1].error = driver().ClusterDownError("no node serves some of the slots")
        return made

    def _take(self, exchange: Exchange, left: list[int]) -> None:
        places = range(self._count) if exchange.places is None else exchange.places
        text = exchange.replies.error
        if exchange.error is None and text is not None:
            exchange.error = _complaint(text)
        if exchange.error is not None:
            self.failures[exchange.address] = exchange.error
            left += places
        elif exchange.places is None:
            self._rows = exchange.replies.items
        else:
            for place, item in zip(places, exchange.replies.items, strict=True):
                if isinstance(item, str):
                    self.failures[exchange.address] = _complaint(item)
                    left.append(place)
                else:
                    self._rows[place] = item

    def _decide(self) -> None:
        """Go on if trying again may help and there is time for it."""
        self._tries += 1
        self.topology.forget()
        hopeful = any(_may_pass(error) for error in self.failures.values())
        # A server that was restarted closes what was idle: that one is worth another try at once.
        stale = any(exchange.on_idle and exchange.error is not None for exchange in self._sent)
        self.pause = 0.0 if stale and self._tries == 1 else _PAUSE * 2 ** (self._tries - 1) * random.uniform(0.5, 1.5)  # noqa: S311
        self.goes_on = hopeful and self._tries < _TRIES and time.monotonic() + self.pause < self.ends

    def _cut(self, rows: list[Any]) -> list[list[Any]]:
        if len(self.requests) == 1:
            return [rows]
        cut, start = [], 0
        for _, keys in self.requests:
            cut.append(rows[start : start + len(keys)])
            start += len(keys)
        return cut


def _complaint(text: str) -> Exception:
    error: Exception = driver().connection.DefaultParser.parse_error(text)
    return error


def _may_pass(error: Exception) -> bool:
    errors = driver().exceptions
    if isinstance(error, errors.AuthenticationError | errors.AuthorizationError):
        return False
    passing = errors.ConnectionError, errors.MovedError, errors.AskError, errors.TryAgainError, errors.ClusterDownError
    return isinstance(error, (*passing, errors.TimeoutError, OSError))
