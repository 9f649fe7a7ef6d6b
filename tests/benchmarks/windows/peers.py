"""The ways to compute windows at given moments, from Parquet to Arrow in hand: ours and the peers'."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fs_core import FeatureStore
from tests.benchmarks.windows.workloads import FUNCTIONS, WINDOWS

_SQL = {"count": "count", "sum": "sum", "mean": "avg", "max": "max"}
_HOURS = {"1h": 1, "1d": 24, "7d": 7 * 24, "30d": 30 * 24}
COLUMNS = [f"amount_{function}_{window}" for function in FUNCTIONS for window in WINDOWS]


def by_us(store: FeatureStore, spine: Path) -> pa.Table:
    """Our own way."""
    return store.get_historical_features(pq.read_table(spine), "payments").table


def by_duckdb(files: Path, spine: Path) -> pa.Table:
    """DuckDB's RANGE windows over events and moments together, put back into the order of the moments.

    Moments as whole numbers: with timestamps and intervals it takes three times as long.
    """
    con = duckdb.connect()
    con.sql("SET TimeZone='UTC'")
    features = ", ".join(
        f"{_SQL[function]}(amount) OVER w{window} AS amount_{function}_{window}"
        for function in FUNCTIONS
        for window in WINDOWS
    )
    windows = ", ".join(
        f'w{window} AS (PARTITION BY "user" ORDER BY ts '
        f"RANGE BETWEEN {_HOURS[window] * 3_600_000_000 - 1} PRECEDING AND CURRENT ROW)"
        for window in WINDOWS
    )
    events = (
        f"SELECT \"user\", epoch_us(event_timestamp) AS ts, amount, NULL::BIGINT AS row FROM read_parquet('{files}')"
    )
    asked = (
        f"SELECT \"user\", epoch_us(event_timestamp), NULL, row_number() OVER () AS row FROM read_parquet('{spine}')"
    )
    return con.sql(
        f"WITH every AS ({events} UNION ALL {asked}) "
        f'SELECT "user", make_timestamptz(ts) AS event_timestamp, {features} '
        f"FROM every WINDOW {windows} QUALIFY row IS NOT NULL ORDER BY row"
    ).to_arrow_table()


def by_polars(files: Path, spine: Path) -> pa.Table:
    """Polars' rolling groups over events and moments together, one pass for each window, back in the moments' order."""
    micros = pl.col("event_timestamp").dt.epoch("us").alias("ts")
    events = pl.scan_parquet(files).select("user", micros, "amount", pl.lit(None, pl.Int64).alias("row"))
    asked = (
        pl.scan_parquet(spine)
        .with_row_index("row")
        .select("user", micros, amount=None, row=pl.col("row").cast(pl.Int64))
    )
    every = pl.concat([events, asked], how="vertical_relaxed").sort("user", "ts").collect()
    found = pl.read_parquet(spine)
    amount = pl.col("amount")
    for window in WINDOWS:
        period = f"{_HOURS[window] * 3_600_000_000}i"
        rolled = every.rolling("ts", period=period, closed="right", group_by="user").agg(
            amount.count().alias("count"),
            pl.when(amount.count() > 0).then(amount.sum()).alias("sum"),
            amount.mean().alias("mean"),
            amount.max().alias("max"),
        )
        answers = rolled.with_columns(every["row"]).drop_nulls("row").sort("row")
        found = found.with_columns(answers[name].alias(f"amount_{name}_{window}") for name in FUNCTIONS)
    return found.to_arrow()


def refuse_difference(ours: pa.Table, theirs: pa.Table) -> None:
    """Raise `AssertionError` if two ways differ by more than the rounding of theirs."""
    assert ours.num_rows == theirs.num_rows
    for name in COLUMNS:
        mine, other = (np.asarray(t[name].cast(pa.float64()).fill_null(-1.0).to_numpy()) for t in (ours, theirs))
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-9, err_msg=name)


def opened(directory: Path, spine: Path) -> tuple[FeatureStore, Path]:
    """Return a store without its index, for the measure of memory, which another process makes."""
    shutil.rmtree(directory / "index", ignore_errors=True)
    return FeatureStore(directory), spine


def asked(ready: tuple[FeatureStore, Path]) -> int:
    """Ask the store of `opened`; return the bytes of the answer."""
    return int(by_us(*ready).nbytes)
