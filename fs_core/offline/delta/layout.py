"""How history lies in files: by month of event time, sorted by key and availability, in types that Delta has."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema
from fs_core.values.dtypes import storage_type
from fs_core.values.times import EARLIEST, LATEST, from_micros

MONTH = "__event_month"
"""The column by which tables are partitioned; it is in the files' paths, not in the files."""


def storage_schema(view: FeatureView) -> pa.Schema:
    """Return the columns of data files: those of history, in types that Delta has."""
    return pa.schema([(field.name, storage_type(field.type)) for field in history_schema(view)])


def lay_out(view: FeatureView, rows: pa.Table) -> pa.Table:
    """Return rows in storage types, with their month, in the order in which history is searched."""
    stored = pa.table({f.name: rows[f.name].cast(f.type) for f in storage_schema(view)})
    month = pc.strftime(rows[EVENT_TIME].cast(pa.timestamp("us")), format="%Y-%m")
    # strftime doesn't pad years before 1000 everywhere, and months are compared as text.
    stored = stored.append_column(MONTH, pc.utf8_lpad(month, width=7, padding="0"))
    order = [MONTH, *view.keys, AVAILABLE_AT, EVENT_TIME, SEQ]
    return stored.take(pc.sort_indices(stored, sort_keys=[(name, "ascending") for name in order]))


def as_declared(table: pa.Table, types: dict[str, pa.DataType]) -> pa.Table:
    """Return a table with `types` cast back from how they are stored, other columns as they are."""
    columns = {
        name: table[name].cast(types[name]) if name in types else table[name] for name in [*types, *table.column_names]
    }
    return pa.table(columns)


def prune(files: Sequence[str], times: pa.ChunkedArray) -> list[str]:
    """Leave out files too late to hold a candidate: `event_time <= a <= t` for every one.

    The ttl would bound from below as well, but a row that has expired is needed: it makes "expired" of "missing".
    """
    latest = pc.max(times.cast(pa.int64())).as_py()
    if latest is None:
        return []
    month = from_micros(min(max(latest, EARLIEST), LATEST)).strftime("%Y-%m").rjust(7, "0")
    return [f for f in files if month_of(f) <= month]


def by_recency(files: Sequence[str]) -> list[list[str]]:
    """Return files in groups of ever earlier event times: of the last month, of two before, of four before those."""
    months = sorted(set(map(month_of, files)), reverse=True)
    group_of = {month: (position + 1).bit_length() - 1 for position, month in enumerate(months)}
    groups: list[list[str]] = [[] for _ in range(len(months).bit_length())]
    for file in files:
        groups[group_of[month_of(file)]].append(file)
    return groups


def month_of(file: str) -> str:
    """Return the month of a data file, as its directory is named."""
    return file.rsplit("/", 2)[-2].partition("=")[2]
