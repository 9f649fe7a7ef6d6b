"""The moment of each row, from which ages count."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from fs_core.encoding.raw import Raw, raw_column
from fs_core.errors import SchemaError, did_you_mean
from fs_core.times import MICROSECONDS, Moment, micros, to_utc_micros

Moments: TypeAlias = Moment | int | pa.Array | pa.ChunkedArray | np.ndarray[Any, Any]
"""One moment for all rows, or one for each: times, or microseconds since 1970 UTC."""


def raw_moments(table: pa.Table, moments: Moments | None, timestamp: str) -> Raw:
    """Return each row's moment in microseconds, shape [rows].

    Raises:
        SchemaError: there are none, or not one for each row.
    """
    if moments is None:
        return _raw(_timestamps(table, timestamp), timestamp)
    if isinstance(moments, pa.Array | pa.ChunkedArray | np.ndarray):
        if len(moments) != table.num_rows:
            raise SchemaError(
                f"{len(moments)} moments for {table.num_rows} rows. Pass one for each row, or one for all."
            )
        return _raw(moments if isinstance(moments, pa.Array | pa.ChunkedArray) else pa.array(moments), "moments")
    return Raw(np.full(table.num_rows, micros(moments)), None)


def _timestamps(table: pa.Table, timestamp: str) -> pa.ChunkedArray:
    if timestamp not in table.column_names:
        raise SchemaError(
            f"ages need each row's moment, but the table has no column {timestamp!r}. Pass moments=, when serving "
            f"the `at` of the read.{did_you_mean(timestamp, table.column_names)}"
        )
    return table[timestamp]


def _raw(column: pa.Array | pa.ChunkedArray, name: str) -> Raw:
    column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    column = column.cast(MICROSECONDS) if pa.types.is_int64(column.type) else to_utc_micros(column, name, "down")
    return raw_column(column, None, None)
