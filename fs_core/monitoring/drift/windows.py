"""A view's history in windows, by when rows became available: what a model could first use then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fs_core.monitoring.drift.bins import Ints, Sample, count_of
from fs_core.offline.search.engine import numbers
from fs_core.offline.search.entity_codes import KeyDictionary
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, at_moment

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView
    from fs_core.offline.contract import OfflineStore

Span = tuple[int, int]
"""Moments after the first, up to the second, microseconds since 1970-01-01 UTC."""

DELAY = "(delay)"
"""What a report calls the time from an event until its row became available, seconds."""
ROWS = "(rows)"
"""What a report calls the number of rows."""

_WEEK = 7 * 86_400 * 10**6


class Windows:
    """The newest state of a view's history, in memory.

    Args:
        view: whose history.
        offline: where it is.
    """

    def __init__(self, view: FeatureView, offline: OfflineStore) -> None:
        self.view, self._offline = view, offline
        self._snapshot = offline.snapshot(view)
        rows = offline.read(view, snapshot=self._snapshot)
        available = numbers(rows[AVAILABLE_AT])
        order = np.argsort(available, kind="stable")
        self._rows = rows.take(pa.array(order))
        self._available = available[order]
        self._events = numbers(self._rows[EVENT_TIME])
        self._codes = codes_of(self._rows, list(view.keys))
        self._is_delayed = bool(np.any(self._events != self._available))

    @property
    def first(self) -> int | None:
        """When the first row became available; None without rows."""
        return int(self._available[0]) if len(self._available) else None

    def newest_event(self, at: int) -> int | None:
        """Return the latest event time of the rows that are available at a moment; None without any."""
        known = int(np.searchsorted(self._available, at, side="right"))
        return int(self._events[:known].max()) if known else None

    def rows(self, span: Span) -> pa.Table:
        """Return the rows that became available in a window."""
        part = self._part(span)
        return self._rows.slice(part.start, part.stop - part.start)

    def delays(self, span: Span) -> Ints:
        """Return how long after its event each row of a window became available, microseconds."""
        part = self._part(span)
        return self._available[part] - self._events[part]

    def entities(self, span: Span) -> int:
        """Return how many entities have rows in a window."""
        return count_of(self._codes[self._part(span)])

    def samples(self, spans: Sequence[Span]) -> dict[str, Sample]:
        """Return the values of each feature in some windows together, and the delays.

        Of a view with aggregations: what its windows hold at the end of each, for every entity with an event in it.
        """
        parts = [self._part(span) for span in spans]
        entities = np.concatenate([self._codes[part] for part in parts])
        delays = pa.chunked_array([pa.array(self.delays(span) / 10**6) for span in spans], pa.float64())
        found = {DELAY: Sample(delays, entities)} if self._is_delayed else {}
        if self.view.aggregations:
            return self._aggregated(spans) | found
        columns = pa.concat_tables([self.rows(span).select(list(self.view.features)) for span in spans])
        return {name: Sample(columns[name], entities) for name in columns.column_names} | found

    def _aggregated(self, spans: Sequence[Span]) -> dict[str, Sample]:
        names = list(self.view.features)
        answers, codes = [], []
        for span in spans:
            part = self._part(span)
            found, first = np.unique(self._codes[part], return_index=True)
            keys = self._rows.select(list(self.view.keys)).take(pa.array(first + part.start))
            asked = at_moment(keys, span[1])
            answers.append(self._offline.as_of(self.view, asked, names, snapshot=self._snapshot).select(names))
            codes.append(found)
        table, entities = pa.concat_tables(answers), np.concatenate(codes)
        return {name: Sample(table[name], entities) for name in names}

    def _part(self, span: Span) -> slice:
        start, end = np.searchsorted(self._available, span, side="right").tolist()
        return slice(start, max(start, end))


def weekdays_before(span: Span, weeks: int, first: int) -> list[Span]:
    """Return up to so many earlier windows on the same days of the week, the latest first.

    The window right before isn't among them, so that a change which has lasted for two windows isn't its own measure.

    Args:
        span: the window.
        weeks: how many at most.
        first: where history begins; no window begins earlier.
    """
    start, end = span
    step = -(-(end - start) // _WEEK) * _WEEK
    skipped = -(-2 * (end - start) // step)
    back = [step * number for number in range(skipped, skipped + weeks)]
    return [(start - by, end - by) for by in back if start - by >= first - 1]


def codes_of(rows: pa.Table, keys: Sequence[str]) -> Ints:
    """Return a number for each row's entity; there are no nulls among the keys."""
    if not keys or not len(rows):
        return np.zeros(len(rows), np.int64)
    return KeyDictionary.of(rows.select(list(keys)))[1]
