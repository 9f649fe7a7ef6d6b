"""What is examined: some rows of a spine, what the store answers for them, and the history it answers from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.leakage.report import EVIDENCE_ROWS
from fs_core.offline.search.engine import Micros, numbers
from fs_core.retrieval.query import Query, moments
from fs_core.retrieval.selection import SelectedFeature, key_table
from fs_core.rule import at_moment

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore

Rows = np.ndarray[Any, np.dtype[np.int64]]


class Subject:
    """A spine and a query on one state of every history; what is read is read once.

    Args:
        offline: history.
        query: the features and states.
        spine: keys, times without nulls, and perhaps a label.
    """

    def __init__(self, offline: OfflineStore, query: Query, spine: pa.Table) -> None:
        self.offline = offline
        self.query = query
        self.spine = spine
        self.times = moments(spine, query)
        self.micros: Micros = numbers(self.times)
        self._keys: dict[FeatureView, pa.Table] = {}
        self._answers: dict[FeatureView, pa.Table] = {}
        self._histories: dict[FeatureView, pa.Table] = {}

    @property
    def views(self) -> list[FeatureView]:
        """The views asked for."""
        return list(self.query.selection.views)

    def features(self, view: FeatureView) -> list[SelectedFeature]:
        """Return the features asked for of a view; the times of its rows are looked at in any case."""
        return [feature for feature in self.query.selection.views[view] if not feature.is_clock]

    def forget(self, view: FeatureView) -> None:
        """Give up what was read of a view: histories may be large."""
        for kept in (self._keys, self._answers, self._histories):
            kept.pop(view, None)

    def keys(self, view: FeatureView) -> pa.Table:
        """Return the view's keys of every row."""
        if view not in self._keys:
            lookup = next(one for one in self.query.selection.lookups if one.view == view)
            self._keys[view] = key_table(self.spine, lookup, "the spine")
        return self._keys[view]

    def answers(self, view: FeatureView) -> pa.Table:
        """Return what the store answers: the features asked for, `EVENT_TIME` and `STATUS`, in the spine's order."""
        if view not in self._answers:
            self._answers[view] = self.ask(view, self.keys(view), self.times)
        return self._answers[view]

    def ask(self, view: FeatureView, keys: pa.Table, times: pa.ChunkedArray) -> pa.Table:
        """Return what the store answers for some keys at some moments.

        Args:
            view: whose features.
            keys: the key columns, in the view's types.
            times: the moment of each row, `timestamp[us, UTC]`.
        """
        snapshot = self.query.snapshots[view.name]
        return self.offline.as_of(view, at_moment(keys, times), self.names(view), snapshot=snapshot)

    def history(self, view: FeatureView) -> pa.Table:
        """Return the view's history in the order written: keys, clocks, seq and what the features asked for need."""
        if view not in self._histories:
            snapshot = self.query.snapshots[view.name]
            columns = None if view.aggregations else self.names(view)
            self._histories[view] = self.offline.read(view, snapshot=snapshot, columns=columns)
        return self._histories[view]

    def names(self, view: FeatureView) -> list[str]:
        """Return the names, in the view, of the features asked for."""
        return [feature.name for feature in self.features(view)]

    def evidence(self, view: FeatureView, rows: Sequence[int] | Rows, columns: Mapping[str, Any]) -> pa.Table:
        """Return keys and moment of the first of some rows, beside other columns.

        Args:
            view: whose keys.
            rows: positions in the spine.
            columns: by a name with a space in it, which no key has; as long as the spine, or as `rows`.
        """
        positions = np.asarray(rows, dtype=np.int64)[:EVIDENCE_ROWS]
        shown = self.keys(view).append_column("as of", self.times).take(pa.array(positions))
        for name, column in columns.items():
            whole = len(column) == len(self.spine)
            shown = shown.append_column(
                name, column.take(pa.array(positions)) if whole else column.slice(0, len(positions))
            )
        return shown
