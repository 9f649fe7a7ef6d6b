"""Moments of many entities, one entity behind the other, searched for many moments at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

NEVER = 1 << 62
"""A moment later than any."""

_BITS = 63
_ENTITY_BITS = 40  # at most: enough for any entities


@dataclass(frozen=True)
class Packing:
    """How entity and moment become one number, by which both are compared at once.

    Sixty-three bits are too few for a million entities over ten years, so entities are numbered anew in each group of
    as many as fit; what is searched is cut at the groups.

    Attributes:
        origin: the earliest moment, microseconds.
        shift: bits that hold the distance of any moment from it.
    """

    origin: int
    shift: int

    @classmethod
    def of(cls, times: Ints) -> Packing:
        """Return a packing for these moments."""
        if not len(times):
            return cls(0, 0)
        origin = int(times.min())
        return cls(origin, (int(times.max()) - origin).bit_length())

    @property
    def group_bits(self) -> int:
        """Bits that hold an entity's number in its group."""
        return min(_BITS - self.shift, _ENTITY_BITS)

    def pack(self, codes: Ints, times: Ints) -> Ints:
        """Return entities and moments as numbers; a moment out of range as the nearest, or one before the first."""
        packed = np.maximum(times, self.origin - 1)  # for few moments half of what `clip` takes
        np.minimum(packed, self.origin + (1 << self.shift) - 1, out=packed)
        return self.pack_known(codes, packed)

    def pack_known(self, codes: Ints, times: Ints) -> Ints:
        """Return what `pack` does of moments none of which is out of range."""
        packed = codes & ((1 << self.group_bits) - 1)
        packed <<= self.shift
        packed += times
        packed -= self.origin
        return packed

    def times(self, packed: Ints) -> Ints:
        """Return the moments that were packed."""
        return (packed & ((1 << self.shift) - 1)) + self.origin

    def groups(self, codes: Ints) -> Iterator[tuple[int, slice]]:
        """Yield each group's number and where it lies among ascending entities."""
        if not len(codes):
            return
        first, last = int(codes[0]) >> self.group_bits, int(codes[-1]) >> self.group_bits
        if first == last:
            yield first, slice(None)
            return
        edges = np.searchsorted(codes, np.arange(first, last + 2) << self.group_bits)
        for number in range(last - first + 1):
            if edges[number] < edges[number + 1]:
                yield first + number, slice(int(edges[number]), int(edges[number + 1]))


@dataclass(frozen=True)
class Times:
    """Moments, ascending within each entity.

    Attributes:
        offsets: where each entity's begin; one more than there are entities.
        packed: the moments, each with its entity.
        packing: how.
    """

    offsets: Ints
    packed: Ints
    packing: Packing

    @classmethod
    def of(cls, codes: Ints, times: Ints, offsets: Ints) -> Times:
        """Pack moments in order of entity and time.

        Args:
            codes: the entity of each moment.
            times: microseconds.
            offsets: where each entity begins, and the end.
        """
        packing = Packing.of(times)
        return cls(offsets, packing.pack_known(codes, times), packing)

    def rank(self, codes: Ints, moments: Ints) -> Ints:
        """Return the place behind each entity's last moment that isn't later than the one asked for.

        Args:
            codes: known entities; found fastest if they ascend.
            moments: one for each; the same.
        """
        asked, bits = self.packing.pack(codes, moments), self.packing.group_bits
        if len(self.offsets) - 1 <= 1 << bits:  # there is one group
            return np.searchsorted(self.packed, asked, side="right")
        found, order = np.empty(len(asked), np.int64), np.argsort(codes, kind="stable")
        for number, part in self.packing.groups(codes[order]):
            start = int(self.offsets[number << bits])
            end = int(self.offsets[min((number + 1) << bits, len(self.offsets) - 1)])
            mine = order[part]
            found[mine] = np.searchsorted(self.packed[start:end], asked[mine], side="right") + start
        return found

    def at(self, places: Ints) -> Ints:
        """Return the moments at places."""
        return self.packing.times(self.packed[places])


def offsets_of(codes: Ints, entities: int) -> Ints:
    """Return where each entity's rows begin among rows in order of entity, and where the last one's end."""
    offsets = np.zeros(entities + 1, np.int64)
    np.cumsum(np.bincount(codes, minlength=entities), out=offsets[1:])
    return offsets


def least_of_later(codes: Ints, times: Ints) -> Ints:
    """Return the least moment among the rows behind each row of its entity; `NEVER` behind the last.

    Args:
        codes: ascending.
        times: microseconds, of any order.
    """
    packing = Packing.of(times)
    packed = packing.pack_known(codes, times)
    least = np.full(len(times), NEVER, np.int64)
    for _, part in packing.groups(codes):
        # Later entities are packed greater, so they never make the least.
        tail = np.minimum.accumulate(packed[part][::-1])[::-1]
        mine = codes[part]
        same = mine[1:] == mine[:-1]
        found = least[part]
        found[:-1][same] = packing.times(tail[1:])[same]
    return least


def expanded(starts: Ints, lengths: Ints) -> Ints:
    """Return the places of many ranges, one range behind the other."""
    total = int(lengths.sum())
    before = np.cumsum(lengths) - lengths
    places: Ints = np.arange(total) + np.repeat(starts - before, lengths)
    return places
