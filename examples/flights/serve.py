"""Serving: the next flights from the online store, and the proof that their rows are the as-of rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from examples.flights.train import KEYS, SERVICE, TIMESTAMP
from fs_core import FeatureStore

SERVED = 1000


def upcoming(data: Path, now: Any, count: int = SERVED) -> pa.Table:
    """Return the keys of the next flights to leave after `now`, in order of departure."""
    query = f"""
        SELECT {", ".join(KEYS)} FROM '{data / "flights.parquet"}' WHERE scheduled_at > $now
        ORDER BY scheduled_at, carrier, flight_number, origin LIMIT {count}"""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        return con.sql(query, params={"now": now}).to_arrow_table()


def compare(store: FeatureStore, flights: pa.Table) -> tuple[pa.Table, int]:
    """Read flights online and as of the very same moment; return the online rows and how many differ.

    Bits are compared, not numbers: nulls, negative zeros and NaNs have to agree as well.
    """
    served = store.get_online_features(SERVICE, flights)
    moment = pa.array([served.at] * len(flights), pa.timestamp("us", tz="UTC"))
    as_of = store.get_historical_features(flights.append_column(TIMESTAMP, moment), SERVICE)
    return served.table, differing_rows(served.table, as_of.table.select(as_of.features))


def differing_rows(left: pa.Table, right: pa.Table) -> int:
    """Return in how many rows two tables of numbers differ in a bit or a null.

    Raises:
        ValueError: they don't have the same columns, types and number of rows.
    """
    if not left.schema.equals(right.schema) or len(left) != len(right):
        raise ValueError(f"the tables can't be compared: {left.schema} against {right.schema}")
    differs = np.zeros(len(left), dtype=bool)
    for a, b in zip(left.columns, right.columns, strict=True):
        differs |= _bits(a) != _bits(b)
        differs |= pc.is_null(a).to_numpy() != pc.is_null(b).to_numpy()
    return int(differs.sum())


def _bits(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    values = pc.fill_null(column, pa.scalar(0, column.type)).to_numpy()
    return values.view(f"u{values.itemsize}")


def latencies(call: Callable[[pa.Table], object], flights: pa.Table) -> np.ndarray[Any, Any]:
    """Call with one flight after the other; return how long each call took, milliseconds."""
    taken = np.empty(len(flights))
    for row in range(len(flights)):
        one = flights.slice(row, 1)
        start = time.perf_counter()
        call(one)
        taken[row] = (time.perf_counter() - start) * 1000
    return taken
