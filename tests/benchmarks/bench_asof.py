"""As-of retrieval beside DuckDB, Polars and pandas: the same rows, from Parquet to Arrow in hand.

Every way's result is checked equal to ours before a time is printed.
Run `make bench`, or `python -m tests.benchmarks.bench_asof --rows 10000000 --spine 1000000`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fs_core import Entity, FeatureStore, FeatureView, Field
from tests.benchmarks.timing import race, show

YEAR = 365 * 86400 * 10**6
START = 1_704_067_200_000_000
FEATURES = [f"f{i}" for i in range(10)]
STAMP = pa.timestamp("us", tz="UTC")


def history(rows: int, entities: int, rng: np.random.Generator) -> pa.Table:
    """Feature rows in order of time, as events arrive; times are distinct, so no peer's tie is at stake."""
    times = np.sort(rng.choice(YEAR // 1000, rows, replace=False)) * 1000 + START
    columns = {"user": pa.array(rng.integers(0, entities, rows)), "event_timestamp": pa.array(times).cast(STAMP)}
    return pa.table(columns | {name: pa.array(rng.normal(size=rows)) for name in FEATURES})


def spine_of(rows: int, entities: int, rng: np.random.Generator) -> pa.Table:
    """Labels: which user, when."""
    times = rng.integers(START, START + YEAR, rows)
    return pa.table({"user": pa.array(rng.integers(0, entities, rows)), "event_timestamp": pa.array(times).cast(STAMP)})


def fill(store: FeatureStore, table: pa.Table) -> None:
    """Declare one view and write the history to it."""
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    fields = [Field(name, "float64", "A number.") for name in FEATURES]
    store.apply(user, FeatureView("numbers", entity=user, fields=fields, description="Numbers of a user."))
    store.write("numbers", table)


def by_us(store: FeatureStore, spine: Path) -> pa.Table:
    """Our own way."""
    return store.get_historical_features(pq.read_table(spine), "numbers").table


def by_duckdb(files: str, spine: Path) -> pa.Table:
    """DuckDB's ASOF JOIN, put back into the spine's order."""
    con = duckdb.connect()
    con.sql("SET TimeZone='UTC'")
    names = ", ".join(FEATURES)
    return con.sql(
        f"SELECT s.user, s.event_timestamp, {names} FROM "
        f"(SELECT *, row_number() OVER () AS row FROM read_parquet('{spine}')) s "
        f"ASOF LEFT JOIN read_parquet('{files}') h ON s.user = h.user AND s.event_timestamp >= h.event_timestamp "
        "ORDER BY row"
    ).to_arrow_table()


def by_polars(files: str, spine: Path) -> pa.Table:
    """Polars' join_asof on both sides sorted by time, put back into the spine's order."""
    left = pl.scan_parquet(spine).with_row_index("row").sort("event_timestamp")
    right = pl.scan_parquet(files).sort("event_timestamp")
    joined = left.join_asof(right, on="event_timestamp", by="user", check_sortedness=False).sort("row").drop("row")
    return joined.collect().to_arrow()


def by_pandas(files: str, spine: Path) -> pa.Table:
    """Pandas' merge_asof, put back into the spine's order."""
    left = pd.read_parquet(spine).reset_index(names="row").sort_values("event_timestamp")
    right = pd.read_parquet(files).sort_values("event_timestamp")
    joined = pd.merge_asof(left, right, on="event_timestamp", by="user").sort_values("row").drop(columns="row")
    return pa.Table.from_pandas(joined, preserve_index=False)


def main() -> None:
    """Build the data, check that all agree, race, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--spine", type=int, default=100_000)
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as folder:
        table, spine = history(args.rows, args.entities, rng), spine_of(args.spine, args.entities, rng)
        files, spine_file = Path(folder, "history.parquet"), Path(folder, "spine.parquet")
        pq.write_table(table, files)
        pq.write_table(spine, spine_file)
        store = FeatureStore(Path(folder, "store"))
        fill(store, table)
        ways: dict[str, Callable[[], pa.Table]] = {
            "fs_core, warm": lambda: by_us(store, spine_file),
            "fs_core, cold": lambda: by_us(store, spine_file),
            "DuckDB ASOF": lambda: by_duckdb(str(files), spine_file),
            "Polars join_asof": lambda: by_polars(str(files), spine_file),
            "pandas merge_asof": lambda: by_pandas(str(files), spine_file),
        }
        refuse_difference(ways)
        title = f"As-of: {args.rows:,} feature rows of {args.entities:,} users, 10 float64, spine of {args.spine:,}"
        # Cold is the first question after a write: its answer includes making the index.
        before = {
            "fs_core, warm": lambda: by_us(store, spine_file),
            "fs_core, cold": lambda: shutil.rmtree(Path(folder, "store", "index")),
        }
        show(title, race(ways, runs=args.runs, before=before), rows=args.spine, ours="fs_core, warm")


def refuse_difference(ways: dict[str, Callable[[], pa.Table]]) -> None:
    """Stop unless every way gives the same features for every row; NaN and null count alike here."""
    first: np.ndarray | None = None
    for name, way in ways.items():
        values = np.column_stack([way()[f].to_numpy() for f in FEATURES])
        first = values if first is None else first
        if not np.array_equal(first, values, equal_nan=True):
            raise SystemExit(f"{name} gives other rows than the first way: nothing was timed.")


if __name__ == "__main__":
    main()
