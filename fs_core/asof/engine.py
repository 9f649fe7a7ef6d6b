"""The plain engine: the as-of rule as DuckDB SQL over history files. The reference for any faster one.

Why one as-of join is enough, although the rule has two clocks: order the rows of one entity by
`(a, event_time, seq)` and keep a row only if no earlier one has a greater `(event_time, a, seq)`. What is
left, the effective timeline, increases in both clocks, so the winner at `t` is its last row with `a <= t`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.asof.rule import AVAILABLE_AT, EVENT_TIME, SEQ, STATUS, TIME, Status, is_expired
from fs_core.definitions import FeatureView
from fs_core.offline.connection import connect, literal, quoted
from fs_core.times import MICROSECONDS


class AsOfEngine(Protocol):
    """Finds winners in history files; deterministic, thread-safe, without state."""

    def search(self, view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]) -> pa.Table:
        """Return the winner of each row of a narrowed spine, in its order, ttl not applied.

        Args:
            view: whose history.
            files: Parquet files that together hold the candidates.
            spine: the view's keys and `TIME`, no nulls.
            columns: the features wanted.

        Returns:
            One row for each spine row: the columns as stored, and `EVENT_TIME`; all null without a winner.
        """
        ...


class DuckDBEngine:
    """The rule, word by word, in SQL."""

    def search(self, view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]) -> pa.Table:
        """See `AsOfEngine.search`."""
        keys = [f"k{i}" for i in range(len(view.keys))]
        narrow = spine.rename_columns([*keys, "t"]).append_column("row", pa.array(np.arange(spine.num_rows)))
        with connect() as connection:
            connection.register("spine", narrow)
            return connection.execute(_search_sql(view, files, columns)).to_arrow_table()


def apply_rule(
    engine: AsOfEngine, view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]
) -> pa.Table:
    """Return `OfflineStore.as_of`'s result: every spine row, nulls unless present, and its status.

    Rows whose key or time is null never reach the engine: nothing equals a null.
    """
    spine = spine.select([*view.keys, TIME])
    usable = np.ones(spine.num_rows, dtype=bool)
    for column in spine.columns:
        usable &= column.is_valid().to_numpy()
    asked = spine.filter(pa.array(usable))
    found = engine.search(view, files, asked, columns) if files and asked.num_rows else _nothing(view, columns, asked)
    place = np.where(usable, np.cumsum(usable) - 1, 0)
    wins = found[EVENT_TIME].is_valid().to_numpy()
    event_time = _numbers(found[EVENT_TIME])
    expired = wins & is_expired(event_time, _numbers(asked[TIME]), view.ttl_micros)
    status = np.where(expired, Status.EXPIRED, np.where(wins, Status.PRESENT, Status.MISSING))
    spread = np.full(spine.num_rows, Status.MISSING.value, dtype=object)
    spread[usable] = status.astype(object)
    present = spread == Status.PRESENT
    features = found.select(list(columns)).take(pa.array(place, mask=~present))
    times = found[EVENT_TIME].take(pa.array(place, mask=~usable))
    return features.append_column(EVENT_TIME, times).append_column(STATUS, pa.array(spread, pa.string()))


def _search_sql(view: FeatureView, files: Sequence[str], columns: Sequence[str]) -> str:
    keys = [f"k{i}" for i in range(len(view.keys))]
    named = ", ".join(f"{quoted(name)} AS {k}" for name, k in zip(view.keys, keys, strict=True))
    same = " AND ".join(f"spine.{k} = timeline.{k}" for k in keys)
    payload = "".join(f", history.{quoted(name)} AS {quoted(name)}" for name in columns)
    history = f"read_parquet([{', '.join(literal(f) for f in files)}], hive_partitioning = false)"
    by = ", ".join(keys)
    return f"""
    WITH facts AS (
        SELECT {named}, {EVENT_TIME} AS et, {AVAILABLE_AT} AS a, {SEQ} AS seq FROM {history}
    ),
    timeline AS (
        SELECT {by}, a, seq FROM facts
        WINDOW known AS (PARTITION BY {by} ORDER BY a, et, seq)
        QUALIFY lead(a) OVER known IS DISTINCT FROM a
            AND coalesce(et >= max(et) OVER (known ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), true)
    ),
    winners AS (
        SELECT spine.row, timeline.seq FROM spine ASOF LEFT JOIN timeline ON {same} AND spine.t >= timeline.a
    )
    SELECT history.{EVENT_TIME} AS {EVENT_TIME}{payload}
    FROM winners LEFT JOIN {history} AS history ON winners.seq = history.{SEQ}
    ORDER BY winners.row
    """


def _nothing(view: FeatureView, columns: Sequence[str], asked: pa.Table) -> pa.Table:
    schema = pa.schema([(EVENT_TIME, MICROSECONDS), *((name, view.features[name]) for name in columns)])
    return pa.table([pa.nulls(asked.num_rows, field.type) for field in schema], schema=schema)


def _numbers(times: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.asarray(pc.fill_null(times.cast(MICROSECONDS).cast(pa.int64()), 0).to_numpy(), dtype=np.int64)
