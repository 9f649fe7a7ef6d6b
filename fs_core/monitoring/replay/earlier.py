"""Whether windows were served from the events that were known a moment before the read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.leakage.differences import differing
from fs_core.offline.predicates import passing
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ
from fs_core.windows.answer import TooLargeError
from fs_core.windows.evaluate import evaluate

Micros = np.ndarray[Any, np.dtype[np.int64]]


class EarlierWindows:
    """The events of some entities, by when they became available.

    Args:
        view: whose events.
        rows: the events, in `history_schema(view)`.
        codes: each event's entity.
    """

    def __init__(self, view: FeatureView, rows: pa.Table, codes: Micros) -> None:
        self._view, self._rows, self._passing = view, rows, passing(view, rows)
        self._times, self._available, self._seqs = (_numbers(rows[name]) for name in (EVENT_TIME, AVAILABLE_AT, SEQ))
        self._order = np.argsort(codes, kind="stable")
        self._codes = codes[self._order]

    def gave(self, code: int, moment: int, tolerance: int, latest: int, features: pa.Table) -> bool:
        """Return whether an entity's windows, at a moment, hold what was served, of the events known shortly before.

        Args:
            code: the entity.
            moment: of the read, microseconds.
            tolerance: how long before it some event may have become available that the read didn't show, microseconds.
            latest: the latest event time that was served, microseconds; -1 where it isn't known, or there was none.
            features: one row, what was served.
        """
        mine = self._order[slice(*np.searchsorted(self._codes, [code, code + 1]))]
        available = self._available[mine]
        due, recent = mine[available <= moment - tolerance], mine[available > moment - tolerance]
        recent = recent[self._available[recent] <= moment]
        for came in (self._seqs, self._available):  # as they were written; or became available, by clocks that agree
            ordered = recent[np.argsort(came[recent], kind="stable")]
            for count in range(len(ordered) - 1, -1, -1):
                known = np.append(due, ordered[:count])
                if latest in (-1, self._times[known].max(initial=-1)) and self._is(known, moment, features):
                    return True
        return False

    def _is(self, known: Micros, moment: int, features: pa.Table) -> bool:
        """Return whether windows over some events hold what was served."""
        taken = pa.array(known)
        rows, passes = self._rows.take(taken), {where: mask.take(taken) for where, mask in self._passing.items()}
        codes, asked = np.zeros(len(known), np.int64), (np.array([0 if len(known) else -1]), np.array([moment]))
        try:
            found = evaluate(self._view, rows, codes, passes, asked, features.column_names).features
        except TooLargeError:
            return False
        return not any(differing(features[name], found[name])[0] for name in features.column_names)


def _numbers(column: pa.ChunkedArray) -> Micros:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
