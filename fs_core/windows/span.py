"""A window in time: which events it holds at a moment, and until when it holds an event."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fs_core.definitions import Aggregation
from fs_core.windows.times import NEVER

Ints = np.ndarray[Any, np.dtype[np.int64]]

_ALL_TIME = 1 << 61  # microseconds: longer than all time
_LONGEST = 1 << 60  # microseconds: longer than the calendar, and still no overflow


class Span(NamedTuple):
    """A window's length and edges; see `Aggregation`.

    Attributes:
        length: microseconds, None for all time.
        hop: microseconds, if its old edge moves in steps.
        shift: how many microseconds before the moment asked for it is looked at: 1 for `closed="left"`.
    """

    length: int | None
    hop: int | None
    shift: int

    @classmethod
    def of(cls, aggregation: Aggregation, length: int | None) -> Span:
        """Return the window of one of an aggregation's lengths."""
        hop = aggregation.hop_micros
        return cls(
            None if length is None else min(length, _LONGEST),
            None if hop is None or length is None else min(hop, _LONGEST),
            int(aggregation.closed == "left"),
        )

    @property
    def key(self) -> Hashable:
        """What spans that look at the same moments have in common."""
        return self.shift

    def places(self, lane: Hashable, known: Mapping[Any, int]) -> int | None:
        """Return the place of this window of a lane among those known, None if it has none."""
        return known.get((lane, self))

    def take(self, questions: Ints) -> Span:
        """Return the window of each of some questions."""
        del questions
        return self

    def edge(self, moments: Ints) -> Ints | None:
        """Return the old edges of windows: an event at the edge is out; None where there is none."""
        if self.length is None:
            return None
        edges = moments - (self.shift + self.length)
        return edges if self.hop is None else edges // self.hop * self.hop

    def life(self, event_time: Ints, available_at: Ints, superseded_at: Ints | None) -> tuple[Ints, Ints]:
        """Return the moment from which each event is seen, and the one from which it isn't any more.

        Args:
            event_time: microseconds.
            available_at: microseconds.
            superseded_at: when a greater row with the same id became available; None where events have no id.
        """
        end = np.full(len(event_time), NEVER, np.int64)
        if self.length is not None:
            edge = event_time if self.hop is None else -(-event_time // self.hop) * self.hop
            end = edge + self.length
        if superseded_at is not None:
            end = np.minimum(end, superseded_at)
        return available_at + self.shift, end + self.shift


class Spans:
    """A window for each question of a block; all that a `Span` can be asked.

    Args:
        spans: the windows.
        which: of each question, the position of its own among them.

    Attributes:
        shift: see `Span`; of each question's window where they differ.
    """

    def __init__(self, spans: tuple[Span, ...], which: Ints) -> None:
        self._spans, self._which = spans, which
        self._lengths, self._hops, self._shifts = _columns(spans)
        self._places: dict[Hashable, Ints | None] = {}
        self.shift: int | Ints = spans[0].shift if self._shifts is None else self._shifts[which]

    @property
    def key(self) -> Hashable:
        """See `Span.key`."""
        return self

    def places(self, lane: Hashable, known: Mapping[Any, int]) -> Ints | None:
        """See `Span.places`: of each question's window; None if one has none."""
        if lane not in self._places:
            found = [known.get((lane, span), -1) for span in self._spans]
            self._places[lane] = None if -1 in found else np.array(found)[self._which]
        return self._places[lane]

    def take(self, questions: Ints) -> Spans:
        """See `Span.take`."""
        return Spans(self._spans, self._which[questions])

    def edge(self, moments: Ints) -> Ints:
        """See `Span.edge`."""
        edges: Ints = moments - self._lengths[self._which]
        edges -= self.shift
        return edges if self._hops is None else self._stepped(edges, self._hops)

    def life(self, event_time: Ints, available_at: Ints, superseded_at: Ints | None) -> tuple[Ints, Ints]:
        """Return when each event begins and ceases to be seen, each through a window of its own; see `Span.life`.

        Args:
            event_time: microseconds.
            available_at: microseconds.
            superseded_at: microseconds; None where events have no id.
        """
        edge = event_time if self._hops is None else -self._stepped(-event_time, self._hops)
        end = edge + self._lengths[self._which]
        if superseded_at is not None:
            end = np.minimum(end, superseded_at)
        return available_at + self.shift, end + self.shift

    def _stepped(self, edges: Ints, hops: Ints) -> Ints:
        steps = hops[self._which]
        return edges // steps * steps


@lru_cache(maxsize=1024)
def _columns(spans: tuple[Span, ...]) -> tuple[Ints, Ints | None, Ints | None]:
    """Return the lengths of windows, their hops if any has one, and their shifts if these differ."""
    lengths = np.array([_ALL_TIME if span.length is None else span.length for span in spans], np.int64)
    hops = np.array([span.hop or 1 for span in spans], np.int64)  # every moment is a multiple of one
    shifts = np.array([span.shift for span in spans], np.int64)
    return lengths, hops if (hops > 1).any() else None, None if (shifts == shifts[0]).all() else shifts
