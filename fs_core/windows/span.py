"""A window in time: which events it holds at a moment, and until when it holds an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fs_core.definitions import Aggregation
from fs_core.windows.times import NEVER

Ints = np.ndarray[Any, np.dtype[np.int64]]

_LONGEST = 1 << 60  # microseconds: longer than the calendar, and still no overflow


@dataclass(frozen=True)
class Span:
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
