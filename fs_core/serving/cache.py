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
_Hit = tuple[bytes | None] | None  # a row, or that there is none, in a tuple; None where neither is known

ROWS = 100_000
"""How many rows a cache keeps unless told otherwise; the one not asked for longest goes first."""


class RowCache:
    """The rows asked for last, of any views. Thread-safe.

    Args:
        rows: how many at most.
        clock: what tells seconds; for tests.
    """

    def __init__(self, rows: int = ROWS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = rows, clock
        self._held: OrderedDict[tuple[str, bytes], tuple[bytes | None, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def ask(self, requests: Requests, max_age: float) -> CachedRead:
        """Begin a read for which rows fetched at most `max_age` seconds ago will do."""
        begun = self._clock()
        with self._lock:
            hits = [[self._hit(view, key, begun - max_age) for key in keys] for view, keys in requests]
        return CachedRead(self, requests, hits, begun)

    def keep(self, requests: Requests, rows: Rows, begun: float) -> None:
        """Take in what a read that began at a moment has fetched: older than that it can't be."""
        with self._lock:
            for (view, keys), values in zip(requests, rows, strict=True):
                for key, row in zip(keys, values, strict=True):
                    place = view, key
                    if place not in self._held or self._held[place][1] < begun:
                        self._held[place] = row, begun
                    self._held.move_to_end(place)
            while len(self._held) > self._most:
                self._held.popitem(last=False)

    def _hit(self, view: str, key: bytes, oldest: float) -> _Hit:
        held = self._held.get((view, key))
        if held is None or held[1] < oldest:
            return None
        self._held.move_to_end((view, key))
        return (held[0],)


class CachedRead:
    """One read: what is here already, and what must be fetched.

    Attributes:
        rest: what must be fetched.
    """

    def __init__(self, cache: RowCache, requests: Requests, hits: list[list[_Hit]], begun: float) -> None:
        self._cache, self._hits, self._begun = cache, hits, begun
        self.rest: list[tuple[str, Sequence[bytes]]] = [
            (view, [key for key, hit in zip(keys, found, strict=True) if hit is None])
            for (view, keys), found in zip(requests, hits, strict=True)
        ]

    def whole(self, fetched: Rows) -> list[list[bytes | None]]:
        """Return all rows, and keep those that were fetched, which are `rest`'s."""
        self._cache.keep(self.rest, fetched, self._begun)
        return self._merged(fetched)

    def partial(self, part: PartialRead | None) -> PartialRead | None:
        """Return what is here beside what could be fetched of `rest`; None if that is nothing."""
        if part is None:
            if all(hit is None for found in self._hits for hit in found):
                return None
            sizes = [len(keys) for _, keys in self.rest]
            part = PartialRead([[None] * size for size in sizes], [np.ones(size, bool) for size in sizes])
        unread = []
        for found, missed in zip(self._hits, part.unread, strict=True):
            gaps = np.array([hit is None for hit in found], bool)
            gaps[gaps] = False if missed is None else missed
            unread.append(gaps if gaps.any() else None)
        return PartialRead(self._merged(part.rows), unread)

    def _merged(self, fetched: Rows) -> list[list[bytes | None]]:
        merged = []
        for found, rows in zip(self._hits, fetched, strict=True):
            coming = iter(rows)
            merged.append([next(coming) if hit is None else hit[0] for hit in found])
        return merged
