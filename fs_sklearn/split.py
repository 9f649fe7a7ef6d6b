"""Cross-validation folds in order of time: the guard against learning from the future."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.model_selection import BaseCrossValidator

from fs_core.errors import DataError, SchemaError, did_you_mean
from fs_core.values.interchange import to_table
from fs_core.values.times import duration_micros, parse_duration, to_utc_micros

Indices = np.ndarray[Any, np.dtype[np.int64]]

_BEFORE_ALL = np.iinfo(np.int64).min


class PointInTimeSplit(BaseCrossValidator):  # type: ignore[misc]
    """Folds in order of time, each learning from all that came before it, with a gap between.

    Every training row's time plus `embargo` is strictly before every test row's time, and rows of one
    time are never parted. The rows from the first test fold on are each tested once.

    Args:
        n_splits: how many test folds, at least 1; of nearly equal numbers of rows.
        timestamp: the column of `X` that holds times.
        embargo: the gap before each test fold, a timedelta or text such as `"7d"`: at least as long as it
            takes until a label is known.

    See Also:
        FeatureStoreTransformer: the features of such rows.

    Example:
        >>> from datetime import datetime, timedelta
        >>> days = [datetime(2024, 1, 1) + timedelta(days=d) for d in range(8)]
        >>> for train, test in PointInTimeSplit(3, embargo="1d").split({"event_timestamp": days}):
        ...     print(train.tolist(), test.tolist())
        [0] [2, 3]
        [0, 1, 2] [4, 5]
        [0, 1, 2, 3, 4] [6, 7]
    """

    def __init__(
        self, n_splits: int = 5, *, timestamp: str = "event_timestamp", embargo: timedelta | str = "0s"
    ) -> None:
        if isinstance(n_splits, bool) or not isinstance(n_splits, int | np.integer) or n_splits < 1:
            raise DataError(f"n_splits={n_splits!r} is not a number of folds; pass 1 or more.")
        self.n_splits = n_splits
        self.timestamp = timestamp
        self.embargo = embargo
        parse_duration(embargo, "embargo")

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002, N803
        """Return the number of folds.

        Args:
            X: ignored.
            y: ignored.
            groups: ignored.
        """
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Indices, Indices]]:  # noqa: ARG002, N803
        """Yield row positions to train on and to test on, int64 arrays in the order of `X`.

        Args:
            X: a frame or mapping with the timestamp column, or a one-dimensional array or series of times.
            y: ignored.
            groups: ignored.

        Raises:
            SchemaError: there is no such column, or it holds no times.
            DataError: a time is null, or there are too few distinct times for so many folds and the gap.
        """
        times = self._times(X)
        starts = self._starts(times)
        gap = duration_micros(parse_duration(self.embargo))
        for fold, start in enumerate(starts):
            end = starts[fold + 1] if fold + 1 < len(starts) else None
            # In Python's whole numbers: a long gap would overflow 64 bits, and future rows would pass for past ones.
            train = np.flatnonzero(times < max(int(start) - gap, _BEFORE_ALL))
            if not len(train):
                raise DataError(
                    f"fold {fold + 1} has nothing to learn from: no row is more than {self.embargo} before its "
                    "first test row. Use fewer splits or a shorter embargo."
                )
            yield train, np.flatnonzero((times >= start) & (times < end if end is not None else True))

    def _starts(self, times: Indices) -> Indices:
        """Return each test fold's first time: at equal shares of the rows, as far as ties allow."""
        distinct = np.unique(times)
        if len(distinct) <= self.n_splits:
            raise DataError(
                f"{len(distinct)} distinct times among {len(times)} rows are too few for {self.n_splits} folds. "
                "Use fewer splits."
            )
        folds = np.arange(self.n_splits)
        shares = np.sort(times)[(folds + 1) * len(times) // (self.n_splits + 1)]
        # Shares that fall into one time move apart: later first, then back from the end.
        positions = np.maximum(np.searchsorted(distinct, shares), 1)
        positions = np.maximum.accumulate(positions - folds) + folds
        return np.asarray(distinct[np.minimum(positions, len(distinct) - self.n_splits + folds)])

    def _times(self, X: Any) -> Indices:  # noqa: N803
        column = self._column(X)
        times = to_utc_micros(column, self.timestamp, "down")
        if times.null_count:
            raise DataError(f"{times.null_count} rows have no {self.timestamp!r}; drop them before splitting by time.")
        return np.asarray(times.cast(pa.int64()).to_numpy(), dtype=np.int64)

    def _column(self, X: Any) -> pa.ChunkedArray:  # noqa: N803
        if isinstance(X, pa.Array | pa.ChunkedArray) or len(getattr(X, "shape", ())) == 1:
            # pyarrow reads the index of a pandas frame through a conversion that pandas deprecates.
            X = {self.timestamp: X.to_series() if hasattr(X, "to_series") else X}  # noqa: N806
        elif isinstance(X, np.ndarray):
            raise SchemaError(f"X is a matrix without a column {self.timestamp!r}. Pass a frame, or the times.")
        table = to_table(X, "X")
        if self.timestamp not in table.column_names:
            raise SchemaError(f"X has no column {self.timestamp!r}.{did_you_mean(self.timestamp, table.column_names)}")
        return table[self.timestamp]

    def _iter_test_indices(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[Indices]:  # noqa: N803
        for _, test in self.split(X, y, groups):
            yield test
