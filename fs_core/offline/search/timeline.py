"""The effective timeline of many entities at once: built by sorting, searched by bisection.

Order the rows of one entity by `(a, event_time, seq)` and keep a row only if no earlier one has a greater
`(event_time, a, seq)`, and no later one the same `a`. What is left increases in both clocks, so the winner
at `t` is its last row with `a <= t`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fs_core.offline.search.entity_codes import UNKNOWN, Codes

Micros = np.ndarray[Any, np.dtype[np.int64]]
Positions = np.ndarray[Any, np.dtype[np.int64]]

NOWHERE = -1
"""The position of a row that isn't there."""


def order_rows(codes: Codes, available_at: Micros, event_time: Micros, seq: Positions) -> Positions:
    """Return the rows of the effective timelines, by entity, then time.

    Args:
        codes: each row's entity, 0 or more.
        available_at: `a`, microseconds.
        event_time: microseconds.
        seq: unique.
    """
    shift = bits_for(available_at)
    if not len(codes) or int(codes.max()) >> (63 - shift):
        order = np.lexsort((seq, event_time, available_at, codes))
        return np.asarray(order[_effective(codes[order], available_at[order], event_time[order])])
    packed = codes << shift
    packed |= available_at - available_at.min()
    # Files are sorted by entity and availability, and a stable sort merges what is sorted already.
    order = np.argsort(packed, kind="stable")
    packed = packed[order]
    _settle_ties(order, packed, event_time, seq)
    # Two rows of one entity are of one moment exactly if they are packed alike.
    return np.asarray(order[_effective(packed >> shift, packed, event_time[order])])


def bits_for(times: Micros) -> int:
    """Return how many bits hold the distance of any of these times from the earliest."""
    return int(int(times.max()) - int(times.min())).bit_length() if len(times) else 0


def _settle_ties(order: Positions, ordered: Positions, event_time: Micros, seq: Positions) -> None:
    """Sort rows of one entity and one availability by event time and seq, in place."""
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = order[tied]
    order[tied] = rows[np.lexsort((seq[rows], event_time[rows], ordered[tied]))]


def _effective(codes: Codes, available_at: Micros, event_time: Micros) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which of ordered rows are part of a timeline."""
    last_of_its_moment = np.append((codes[1:] != codes[:-1]) | (available_at[1:] != available_at[:-1]), True)
    shift = bits_for(event_time)
    if len(codes) and int(codes[-1]) >> (63 - shift):
        event_time, shift = np.unique(event_time, return_inverse=True)[1].astype(np.int64), 32
    # Codes grow along the rows, so the greatest so far never comes from another entity.
    packed = codes << shift
    packed |= event_time - (event_time.min() if len(codes) else 0)
    return last_of_its_moment[: len(codes)] & (packed >= np.maximum.accumulate(packed))


@dataclass(frozen=True)
class Timeline:
    """Timelines of many entities, one behind the other.

    Attributes:
        offsets: where each entity's rows begin; one more than there are entities.
        times: `a` of each row; packed with the entity where both fit 64 bits.
        shift: how many bits of `times` hold the time if packed, else None.
        origin: what to add to a packed time, microseconds.
    """

    offsets: Positions
    times: Micros
    shift: int | None
    origin: int

    @classmethod
    def of(cls, codes: Codes, available_at: Micros, entities: int) -> Timeline:
        """Lay out ordered rows.

        Args:
            codes: of each row's entity, ascending.
            available_at: of each row, microseconds, ascending within an entity.
            entities: how many entities there are.
        """
        offsets = np.zeros(entities + 1, np.int64)
        np.cumsum(np.bincount(codes, minlength=entities), out=offsets[1:])
        shift = bits_for(available_at)
        if not len(codes) or int(codes[-1]) >> (62 - shift):
            return cls(offsets, available_at, None, 0)
        origin = int(available_at.min())
        return cls(offsets, (codes << shift) | (available_at - origin), shift, origin)

    def available_at(self, positions: Positions) -> Micros:
        """Return `a` of rows."""
        if self.shift is None:
            return self.times[positions]
        return (self.times[positions] & ((1 << self.shift) - 1)) + self.origin

    def last_by(self, codes: Codes, moments: Micros) -> Positions:
        """Return the position of each entity's last row with `a <= t`, `NOWHERE` without one."""
        if not len(self.times):
            return np.full(len(codes), NOWHERE, np.int64)
        known = codes != UNKNOWN
        if self.shift is None:
            return self._bisect(np.where(known, codes, 0), moments, known)
        known &= moments >= self.origin
        # Later than every row is as good as the last moment that fits.
        since = np.minimum(np.where(known, moments, self.origin) - self.origin, (1 << self.shift) - 1)
        asked = (np.where(known, codes, 0) << self.shift) | since
        order = np.argsort(asked)  # neighbours are found near each other, at a third of the time
        positions = np.empty(len(asked), np.int64)
        positions[order] = np.searchsorted(self.times, asked[order], side="right") - 1
        found = known & (positions >= self.offsets[np.where(known, codes, 0)])
        return np.where(found, positions, NOWHERE)

    def _bisect(self, codes: Codes, moments: Micros, known: np.ndarray[Any, np.dtype[np.bool_]]) -> Positions:
        low, high = self.offsets[codes], self.offsets[codes + 1]
        first = low.copy()
        last = len(self.times) - 1
        for _ in range(int((high - low).max(initial=0)).bit_length()):
            middle = (low + high) >> 1
            right = (low < high) & (self.times[np.minimum(middle, last)] <= moments)
            low, high = np.where(right, middle + 1, low), np.where(right | (low >= high), high, middle)
        return np.where(known & (low > first), low - 1, NOWHERE)
