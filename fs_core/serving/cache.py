"""Rows kept in this process, for reads that a row of a moment ago will do for.

What is kept is what the online store held, or that it held nothing. Whether a row has expired, or was
available at the moment asked for, is decided at each read as for a row just fetched: a cached read is a
read of the store as it was, at most so long ago as the caller allows.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from fs_core.online.contract import PartialRead

Requests = Sequence[tuple[str, Sequence[bytes]]]
Rows = Sequence[Sequence[bytes | None]]
_Hit = tuple[bytes | None, float] | None  # a row, or that there is none, and of when; None where neither is known

ROWS = 100_000
"""How many rows a cache keeps by default; the one not asked for longest goes first."""


class RowCache:
    """The rows asked for last, of any views. Thread-safe.

    Args:
        rows: how many at most.
        clock: returns the time in seconds; for tests.
    """

    def __init__(self, rows: int = ROWS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = rows, clock
        self._held: OrderedDict[tuple[str, bytes], tuple[bytes | None, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def ask(self, requests: Requests, max_age: float, together: Sequence[tuple[int, int]] = ()) -> CachedRead:
        """Begin a read for which rows fetched at most `max_age` seconds ago will do.

        Args:
            requests: what is read.
            max_age: how long ago, seconds.
            together: positions of two requests for the same keys, of rows and of what belongs to them: for each
                key, both are of one read, or both are fetched.
        """
        begun = self._clock()
        with self._lock:
            hits = [[self._hit(view, key, begun - max_age) for key in keys] for view, keys in requests]
            return CachedRead(self, requests, hits, begun, _parted(hits, together))

    def keep(self, read: CachedRead, rows: Rows) -> None:
        """Take in what a read has fetched."""
        with self._lock:
            for (view, keys), values in zip(read.rest, rows, strict=True):
                for key, row in zip(keys, values, strict=True):
                    self._keep((view, key), row, read.begun)
            while len(self._held) > self._most:
                self._held.popitem(last=False)

    def _keep(self, name: tuple[str, bytes], row: bytes | None, begun: float) -> None:
        held = self._held.get(name)
        if held is None or held[1] < begun:
            self._held[name] = row, begun
        self._held.move_to_end(name)

    def _hit(self, view: str, key: bytes, oldest: float) -> _Hit:
        held = self._held.get((view, key))
        if held is None or held[1] < oldest:
            return None
        self._held.move_to_end((view, key))
        return held


def _parted(
    hits: list[list[_Hit]], together: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], tuple[bytes | None, float]]:
    """Take out of the hits what isn't of one read with what it belongs to; return the rows among it, by position."""
    spare = {}
    for rows, more in together:
        for position, (row, other) in enumerate(zip(hits[rows], hits[more], strict=True)):
            if row is None or other is None or row[1] != other[1]:
                hits[rows][position] = hits[more][position] = None
                if row is not None:
                    spare[rows, position] = row
    return spare


class CachedRead:
    """One read: what is here already, and what must be fetched.

    Args:
        cache: where fetched rows go.
        requests: what is read.
        hits: for each request, the row that is here for each key; None where it must be fetched.
        begun: when it began; what it fetches can't be older.
        spare: what is here and fetched all the same, by the numbers of its request and key.

    Attributes:
        rest: what must be fetched.
        begun: when it began; what it fetches can't be older.
    """

    def __init__(
        self,
        cache: RowCache,
        requests: Requests,
        hits: list[list[_Hit]],
        begun: float,
        spare: dict[tuple[int, int], tuple[bytes | None, float]],
    ) -> None:
        self._cache, self._hits, self.begun = cache, hits, begun
        self._spare = spare  # what is here and fetched all the same: by request and key
        self.rest: list[tuple[str, Sequence[bytes]]] = [
            (view, [key for key, hit in zip(keys, found, strict=True) if hit is None])
            for (view, keys), found in zip(requests, hits, strict=True)
        ]

    def whole(self, fetched: Rows) -> list[list[bytes | None]]:
        """Return all rows, and keep those that were fetched, which are `rest`'s."""
        self._cache.keep(self, fetched)
        return self._merged(fetched)

    def partial(self, part: PartialRead | None) -> PartialRead | None:
        """Return what is here beside what could be fetched of `rest`; None if that is nothing."""
        if part is None:
            if not self._spare and all(hit is None for found in self._hits for hit in found):
                return None
            sizes = [len(keys) for _, keys in self.rest]
            part = PartialRead([[None] * size for size in sizes], [np.ones(size, bool) for size in sizes])
        unread = []
        for found, missed in zip(self._hits, part.unread, strict=True):
            gaps = np.array([hit is None for hit in found], bool)
            gaps[gaps] = False if missed is None else missed
            unread.append(gaps)
        rows = self._merged(part.rows)
        for (number, position), hit in self._spare.items():
            if unread[number][position]:
                rows[number][position], unread[number][position] = hit[0], False
        return PartialRead(rows, [gaps if gaps.any() else None for gaps in unread])

    def _merged(self, fetched: Rows) -> list[list[bytes | None]]:
        merged = []
        for found, rows in zip(self._hits, fetched, strict=True):
            coming = iter(rows)
            merged.append([next(coming) if hit is None else hit[0] for hit in found])
        return merged
