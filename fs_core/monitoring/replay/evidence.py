"""Why a served row isn't the one that wins: held against every row of its entity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.leakage.differences import differing
from fs_core.monitoring.replay.earlier import EarlierWindows
from fs_core.monitoring.replay.report import DIFFERENCES, Difference, Kinds
from fs_core.offline.contract import OfflineStore, Snapshot
from fs_core.offline.search.entity_codes import KeyDictionary
from fs_core.offline.search.timeline import Timeline, order_rows
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, Status
from fs_core.serving.answers import UNAVAILABLE
from fs_core.values.times import EARLIEST

Micros = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
_NONE = -1


@dataclass(frozen=True)
class Question:
    """Rows of one look-up that differ from the rule.

    Attributes:
        keys: the view's key columns.
        moments: of the reads, microseconds.
        tolerance: how long before each a push may have come that it needn't show, microseconds.
        status: what was served.
        expected: the status by the rule.
        event_time: the served row's, or of windows the latest event's, microseconds; -1 where there was none, or it
            isn't known.
        available_at: from when it was available, microseconds; anything where there was none.
        seq: its seq, -1 where there was none, or it isn't known.
        features: the served features, by their names in the view.
    """

    keys: pa.Table
    moments: Micros
    tolerance: Micros
    status: np.ndarray[Any, Any]
    expected: np.ndarray[Any, Any]
    event_time: Micros
    available_at: Micros
    seq: Micros
    features: pa.Table


@dataclass(frozen=True)
class Explanation:
    """Why rows differ.

    Attributes:
        kinds: for each row the position of its `Difference`.
        winners: by row, the winner among `rows`, -1 where there is none.
        rows: history's rows of these entities, in `history_schema(view)`.
        is_known: whether history has the served row, with these values; true where none was served.
    """

    kinds: Kinds
    winners: Micros
    rows: pa.Table
    is_known: Flags


def explain(view: FeatureView, offline: OfflineStore, snapshot: Snapshot, asked: Question) -> Explanation:
    """Return why rows of a look-up differ from the rule.

    Args:
        view: what was looked up.
        offline: history.
        snapshot: its state.
        asked: the rows.
    """
    every = _rows_of(view, offline, snapshot, asked)
    history = _History(view, every, asked.keys)
    winners = history.winners(asked.moments)
    served, is_known = history.served(asked, windows=bool(view.aggregations))
    if view.aggregations:
        kinds = _of_windows(view, history, asked)
    else:
        kinds = _of_rows(history, asked, winners, served, is_known)
    kinds[asked.status == UNAVAILABLE] = DIFFERENCES.index(Difference.LOST)
    return Explanation(kinds, winners, every, is_known)


def _rows_of(view: FeatureView, offline: OfflineStore, snapshot: Snapshot, asked: Question) -> pa.Table:
    """Return every row of some entities that was available by their last moment."""
    entities = asked.keys.drop_null().group_by(asked.keys.column_names).aggregate([])
    last = int(asked.moments.max())
    run = offline.winners(view, until=last, snapshot=snapshot, entities=entities, recent=EARLIEST - 1)
    return run.rows.read_all()


class _History:
    """The rows of some entities, searched."""

    def __init__(self, view: FeatureView, rows: pa.Table, keys: pa.Table) -> None:
        self.rows, self._lag = rows, view.lag_micros
        names = list(view.keys)
        usable = np.ones(keys.num_rows, bool)
        for column in keys.columns:
            usable &= column.is_valid().to_numpy()
        dictionary, self._entity = KeyDictionary.of(rows.select(names))
        found = dictionary.codes(keys.filter(pa.array(usable)))
        self._asked = np.full(keys.num_rows, _NONE, np.int64)
        self._asked[usable] = found
        self.event_time, self.available_at, self.seq = (
            _numbers(rows[name]) for name in (EVENT_TIME, AVAILABLE_AT, SEQ)
        )
        self._order = order_rows(self._entity, self.available_at, self.event_time, self.seq)
        times = self.available_at[self._order]
        self._timeline = Timeline.of(self._entity[self._order], times, dictionary.size)
        # How many rows before each of the timeline weren't held back by the lag.
        self._came = np.append(0, np.cumsum(~self.waited(self._order)))

    def waited(self, rows: Micros) -> Flags:
        """Return which rows became available by the view's lag alone."""
        if not self._lag or not len(self.seq):
            return np.zeros(len(rows), bool)
        return np.asarray(self.available_at[rows] == self.event_time[rows] + self._lag)

    def newer(self, rows: Micros, event_time: Micros) -> Flags:
        """Return where a row is there and happened after a moment."""
        if not len(self.seq):
            return np.zeros(len(rows), bool)
        return np.asarray((rows != _NONE) & (self.event_time[rows] > event_time))

    def winners(self, moments: Micros) -> Micros:
        """Return each asked entity's winner at a moment, an index of `rows`, -1 where there is none."""
        return self._row_at(self._timeline.last_by(self._asked, moments))

    def _row_at(self, positions: Micros) -> Micros:
        if not len(self._order):
            return positions
        return np.where(positions >= 0, self._order[positions], _NONE)

    def served(self, asked: Question, *, windows: bool) -> tuple[Micros, Flags]:
        """Return the served rows, indices of `rows`, -1 where there is none; and whether history has them like that."""
        any_served = asked.seq >= 0
        if windows or not len(self.seq):
            return np.full(len(asked.seq), _NONE), ~any_served
        order = np.argsort(self.seq)
        found = order[np.minimum(np.searchsorted(self.seq[order], asked.seq), len(order) - 1)]
        same = (self.seq[found] == asked.seq) & (self._entity[found] == self._asked)
        same &= (self.event_time[found] == asked.event_time) & (self.available_at[found] == asked.available_at)
        present = asked.status == Status.PRESENT.value
        for name in asked.features.column_names:
            same &= ~(differing(asked.features[name], self.rows[name].take(pa.array(found))) & present)
        return np.where(same & any_served, found, _NONE), same | ~any_served

    def beats(self, rows: Micros, others: Micros) -> Flags:
        """Return where a row is there and greater, as the rule compares, than another, or there is no other."""
        if not len(self.seq):
            return np.zeros(len(rows), bool)
        pairs = [(column[rows], column[others]) for column in (self.event_time, self.available_at, self.seq)]
        greater = np.zeros(len(rows), bool)
        equal = np.ones(len(rows), bool)
        for one, other in pairs:
            greater |= equal & (one > other)
            equal &= one == other
        return np.asarray((rows != _NONE) & ((others == _NONE) | greater))

    def only_held_back(self, moments: Micros, served: Micros) -> Flags:
        """Return where each row between the served one and the winner at a moment became available by the lag alone.

        Where nothing was served that is so of an entity's first row; that further ones never came online, no lag says.
        """
        if not self._lag or not len(self.seq):
            return np.zeros(len(moments), bool)
        last, since = self._timeline.last_by(self._asked, moments), self._up_to(served)
        first = self._timeline.offsets[np.maximum(self._asked, 0)]
        waited = self._came[last + 1] == self._came[since + 1]
        return np.asarray((last >= 0) & waited & ((served != _NONE) | (last == first)))

    def _up_to(self, served: Micros) -> Micros:
        """Return the position in the timelines of each asked entity's last row that doesn't beat the served one.

        Without one it is the position before the entity's first row. All are sorted together, as the rule compares.
        """
        rows, nobody = self._order, served == _NONE
        columns = [
            np.append(column[rows], np.where(nobody, np.iinfo(np.int64).min, column[served]))
            for column in (self.seq, self.available_at, self.event_time)
        ]
        entities, is_asked = np.append(self._entity[rows], self._asked), np.arange(len(rows) + len(served)) >= len(rows)
        order = np.lexsort((is_asked, *columns, entities))
        positions = np.empty(len(order), np.int64)
        positions[order] = np.cumsum(~is_asked[order]) - 1
        return positions[len(rows) :]

    def became_available(self, after: Micros, until: Micros) -> Flags:
        """Return where a row of the asked entity became available in a span of time, whether it ever won or not."""
        order = np.lexsort((self.available_at, self._entity))
        every = Timeline.of(self._entity[order], self.available_at[order], len(self._timeline.offsets) - 1)
        return np.asarray(every.last_by(self._asked, until) != every.last_by(self._asked, after))

    def gave_earlier(self, view: FeatureView, asked: Question, doubtful: Flags) -> Flags:
        """Return which of some doubtful windows hold what the rule gives of the events known shortly before."""
        same = np.zeros(len(doubtful), bool)
        if doubtful.any():
            earlier = EarlierWindows(view, self.rows, self._entity)
            for row in np.flatnonzero(doubtful).tolist():
                code, moment, tolerance, latest = (
                    int(values[row]) for values in (self._asked, asked.moments, asked.tolerance, asked.event_time)
                )
                nothing = asked.status[row] == Status.MISSING.value
                same[row] = nothing or earlier.gave(code, moment, tolerance, latest, asked.features.slice(row, 1))
        return same


def _of_rows(history: _History, asked: Question, winners: Micros, served: Micros, is_known: Flags) -> Kinds:
    """Return why rows differ, of a view without windows."""
    due = history.winners(asked.moments - asked.tolerance)  # what a read that a push overlapped has to show at least
    is_missing = history.beats(due, served)
    collected = (asked.status == Status.MISSING.value) & (asked.expected == Status.EXPIRED.value)
    held_back = history.only_held_back(asked.moments - asked.tolerance, served)
    cases = [
        (~is_known, Difference.UNEXPLAINED),
        (collected, Difference.EXPIRED),
        (~history.beats(winners, served), Difference.UNEXPLAINED),
        (~is_missing, Difference.OVERLAPPED),
        (held_back, Difference.HELD_BACK),
    ]
    return _first(cases, Difference.LOST)


def _of_windows(view: FeatureView, history: _History, asked: Question) -> Kinds:
    """Return why windows differ: by events that came just before, and by the latest one that was known online."""
    due = history.winners(asked.moments - asked.tolerance)  # the latest event that has to be known at least
    nothing = asked.status == Status.MISSING.value
    newer = history.newer(due, asked.event_time) & (nothing | (asked.event_time != _NONE))
    came = history.became_available(asked.moments - asked.tolerance, asked.moments)
    cases = [
        (newer & history.waited(due) & ~nothing, Difference.HELD_BACK),
        (newer, Difference.LOST),
        (history.gave_earlier(view, asked, came & ~newer), Difference.OVERLAPPED),
    ]
    return _first(cases, Difference.UNEXPLAINED)


def _first(cases: Sequence[tuple[Flags, Difference]], otherwise: Difference) -> Kinds:
    """Return for each row the first case that is so."""
    numbers = [DIFFERENCES.index(kind) for _, kind in cases]
    return np.select([flags for flags, _ in cases], numbers, DIFFERENCES.index(otherwise)).astype(np.int8)


def _numbers(column: pa.ChunkedArray) -> Micros:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
