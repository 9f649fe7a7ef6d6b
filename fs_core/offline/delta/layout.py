"""How history lies in files: by month of event time, sorted by key and availability, in types that Delta has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.offline.sorting import Numbers, micros_of, search_order, taken
from fs_core.rule import EVENT_TIME, history_schema
from fs_core.values.dtypes import as_type, storage_type
from fs_core.values.times import EARLIEST, LATEST, from_micros

MONTH = "__event_month"
"""The column by which tables are partitioned; it is in the files' paths, not in the files."""

SAMPLE = 2_000
"""Rows by which it is told what a column is like."""

_DIFFERENT = 1_985  # of their values, where there are so many that a dictionary of a data file wouldn't hold them


def storage_schema(view: FeatureView) -> pa.Schema:
    """Return the columns of data files: those of history, in types that Delta has."""
    return pa.schema([(field.name, storage_type(field.type)) for field in history_schema(view)])


def lay_out(view: FeatureView, rows: pa.Table) -> pa.Table:
    """Return rows in storage types, with their month, in the order in which history is searched."""
    stored = pa.table({f.name: rows[f.name].cast(f.type) for f in storage_schema(view)})
    months = micros_of(stored[EVENT_TIME]).astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    order = search_order(view, stored, months)
    if order is not None:
        months = months[order]
        stored = taken(stored, order)
    return stored.append_column(MONTH, _month_texts(months))


def _month_texts(months: Numbers) -> pa.Array:
    """Return months, counted from January 1970, as text that compares as they do."""
    first, last = (int(months.min()), int(months.max())) if len(months) else (0, 0)
    texts = [f"{1970 + month // 12:04}-{month % 12 + 1:02}" for month in range(first, last + 1)]
    return pa.DictionaryArray.from_arrays(pa.array((months - first).astype(np.int32)), texts).cast(pa.string())


def without_dictionary(table: pa.Table) -> list[str]:
    """Return the columns whose values, by a sample, are too many for the dictionary of a data file.

    The library would make one for each column, and give it up at a megabyte: with numbers that took most of the time
    of a write. Of so many different values, 2,000 have 15 that are equal to others.
    """
    rows = table.num_rows
    if rows <= SAMPLE:
        return []
    sample = table.take(np.linspace(0, rows - 1, SAMPLE).astype(np.int64))
    flat = [name for name in table.column_names if not pa.types.is_nested(table.schema.field(name).type)]
    return [name for name in flat if pc.count_distinct(sample[name]).as_py() > _DIFFERENT]


def as_declared(table: pa.Table, types: dict[str, pa.DataType]) -> pa.Table:
    """Return a table with `types` cast back from how they are stored, other columns as they are."""
    cast = {name: as_type(table[name], dtype) for name, dtype in types.items()}
    return pa.table({**cast, **{name: table[name] for name in table.column_names if name not in types}})


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
    """Return the month of a data file, or the day in a table by day, as its directory is named."""
    return file.rsplit("/", 2)[-2].partition("=")[2]
