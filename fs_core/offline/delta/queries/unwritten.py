"""Which rows of a source history doesn't have yet: what an incremental backfill writes.

A row is there already if some row of history has the same keys, event time and values (and availability, where the
view names a column for it: otherwise a pushed row is the same fact as the one that the source brings later).
A value that went and came back is written again: history has such a row, but another one wins over it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.delta.queries.winners import rows_sql
from fs_core.offline.duckdb import connect, quoted
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ
from fs_core.values.dtypes import storage_type

_ROW = "__row"


def unwritten(view: FeatureView, rows: pa.Table, files: Sequence[str]) -> pa.Table:
    """Return those of some rows that history doesn't have, in their order.

    Args:
        view: whose history.
        rows: checked rows, as `OfflineStore.unwritten` takes them.
        files: the data files of the history.
    """
    if not files or not rows.num_rows:
        return rows
    stored = {name: rows[name].cast(storage_type(rows.schema.field(name).type)) for name in rows.column_names}
    with connect() as connection:
        connection.register("fs_source", pa.table({**stored, _ROW: np.arange(rows.num_rows)}))
        found = connection.sql(_query(view, files)).to_arrow_table()
    return rows.take(found[_ROW])


def _query(view: FeatureView, files: Sequence[str]) -> str:
    moment = [*view.keys, EVENT_TIME]
    fact = [*moment, *([AVAILABLE_AT] if view.available_at else []), *view.written]
    rivals = [*view.keys, *view.event_id] if view.event_id else moment  # rows of which one counts
    known = rows_sql(view, files, "true")
    return f"""
        WITH known AS (SELECT * FROM {known} SEMI JOIN fs_source USING ({_listed(rivals)})),
        fresh AS (SELECT {_ROW} FROM fs_source AS s ANTI JOIN known AS k ON {_same(fact)}),
        alone AS (SELECT * FROM fs_source QUALIFY count(*) OVER (PARTITION BY {_listed(rivals)}) = 1),
        winners AS (SELECT * FROM known QUALIFY row_number() OVER (
            PARTITION BY {_listed(rivals)} ORDER BY {EVENT_TIME} DESC, {AVAILABLE_AT} DESC, {SEQ} DESC) = 1),
        returned AS (
            SELECT s.{_ROW} FROM alone AS s JOIN winners AS k ON {_same(rivals)}
            WHERE NOT ({_same(fact)}) AND (s.{EVENT_TIME}, s.{AVAILABLE_AT}) >= (k.{EVENT_TIME}, k.{AVAILABLE_AT})
        )
        SELECT {_ROW} FROM fresh UNION SELECT {_ROW} FROM returned ORDER BY {_ROW}
        """


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


def _same(names: Sequence[str]) -> str:
    return " AND ".join(f"s.{quoted(name)} IS NOT DISTINCT FROM k.{quoted(name)}" for name in names)
