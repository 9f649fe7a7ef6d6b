"""The plain engine: the as-of rule as DuckDB SQL over history files. The reference for any faster one.

Why one as-of join is enough, although the rule has two clocks: order the rows of one entity by
`(a, event_time, seq)` and keep a row only if no earlier one has a greater `(event_time, a, seq)`. What is
left, the effective timeline, increases in both clocks, so the winner at `t` is its last row with `a <= t`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.delta.layout import prune
from fs_core.offline.duckdb import connect, quoted, scan
from fs_core.offline.search.engine import Found, alive, column_types, numbers
from fs_core.offline.search.events import search_events
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, TIME
from fs_core.values.dtypes import as_type


class PlainEngine:
    """The rule, word by word, in SQL. Without state; spills to disk what doesn't fit memory."""

    def search(self, view: FeatureView, files: Sequence[str], spine: pa.Table, columns: Sequence[str]) -> Found:
        """See `AsOfEngine.search`."""
        if view.aggregations:
            return search_events(view, files, spine, columns)
        files = prune(files, spine[TIME]) or files[:1]
        keys = [f"k{i}" for i in range(len(view.keys))]
        narrow = spine.rename_columns([*keys, "t"]).append_column("row", pa.array(np.arange(spine.num_rows)))
        with connect() as connection:
            connection.register("spine", narrow)
            rows = connection.sql(_search_sql(view, files, columns)).to_arrow_table()
        wins, event_time = rows[EVENT_TIME].is_valid().to_numpy(), numbers(rows[EVENT_TIME])
        present = alive(view, wins, event_time, numbers(spine[TIME]))
        kept = rows.select(list(columns)).take(pa.array(np.arange(len(wins)), mask=~present))
        types = column_types(view)
        features = {name: as_type(kept[name], types[name]) for name in columns}
        return Found(pa.table(features), event_time, wins, present)

    def prepare(self, view: FeatureView, files: Sequence[str]) -> None:
        """See `AsOfEngine.prepare`: there is nothing to do."""

    def forget(self, view: FeatureView) -> None:
        """See `AsOfEngine.forget`: nothing is kept."""

    def verify(self, view: FeatureView, files: Sequence[str], *, repair: bool) -> list[str]:  # noqa: ARG002
        """See `AsOfEngine.verify`: nothing is kept."""
        return []


def _search_sql(view: FeatureView, files: Sequence[str], columns: Sequence[str]) -> str:
    keys = [f"k{i}" for i in range(len(view.keys))]
    named = ", ".join(f"{quoted(name)} AS {k}" for name, k in zip(view.keys, keys, strict=True))
    same = " AND ".join(f"spine.{k} = timeline.{k}" for k in keys)
    payload = "".join(f", history.{quoted(name)} AS {quoted(name)}" for name in columns)
    history = scan(files)
    by = ", ".join(keys)
    return f"""
    WITH facts AS (
        SELECT {named}, {EVENT_TIME} AS et, {AVAILABLE_AT} AS a, {SEQ} AS seq FROM {history}
    ),
    timeline AS (
        SELECT {by}, a, seq FROM facts SEMI JOIN spine USING ({by})
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
