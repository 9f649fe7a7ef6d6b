"""The ways to do one as-of join, from Parquet to Arrow in hand: ours and the peers'."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fs_core import FeatureStore
from tests.benchmarks.asof.workloads import FEATURES
from tests.benchmarks.feast.process import FEAST

Ways = dict[str, Callable[[], pa.Table]]


def by_us(store: FeatureStore, spine: Path, features: str | list[str] = "numbers") -> pa.Table:
    """Our own way."""
    return store.get_historical_features(pq.read_table(spine), features).table


def by_duckdb(files: Path, spine: Path) -> pa.Table:
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


def by_polars(files: Path, spine: Path) -> pa.Table:
    """Polars' join_asof on both sides sorted by time, put back into the spine's order."""
    left = pl.scan_parquet(spine).with_row_index("row").sort("event_timestamp")
    right = pl.scan_parquet(files).sort("event_timestamp")
    joined = left.join_asof(right, on="event_timestamp", by="user", check_sortedness=False).sort("row").drop("row")
    return joined.collect().to_arrow()


def by_pandas(files: Path, spine: Path) -> pa.Table:
    """Pandas' merge_asof, put back into the spine's order."""
    left = pd.read_parquet(spine).reset_index(names="row").sort_values("event_timestamp")
    right = pd.read_parquet(files).sort_values("event_timestamp")
    joined = pd.merge_asof(left, right, on="event_timestamp", by="user").sort_values("row").drop(columns="row")
    return pa.Table.from_pandas(joined, preserve_index=False)


def libraries(files: Path, spine: Path) -> Ways:
    """Return the peers that run in this process."""
    return {
        "DuckDB ASOF": lambda: by_duckdb(files, spine),
        "Polars join_asof": lambda: by_polars(files, spine),
        "pandas merge_asof": lambda: by_pandas(files, spine),
    }


def by_feast(files: Path, spine: Path, ours: pa.Table, *, runs: int = 2) -> tuple[float, ...] | None:
    """Return the seconds of each of Feast's runs, None where it isn't installed; its rows are checked, sorted.

    Feast doesn't keep the spine's order, so both sides are put into one order first.
    """
    if not FEAST.exists():
        return None
    out = spine.with_name("feast.parquet")
    script = Path(__file__).parents[1] / "feast" / "as_of.py"
    command = [str(FEAST), "-W", "ignore", str(script), str(files), str(spine), str(out), str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"Feast failed: {done.stderr[-2000:]}")
    order = [("user", "ascending"), ("event_timestamp", "ascending")]
    theirs, mine = pq.read_table(out).sort_by(order), ours.sort_by(order)
    if not np.array_equal(_values(theirs), _values(mine), equal_nan=True):
        raise SystemExit("Feast gives other rows: nothing was timed.")
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def refuse_difference(ways: Ways) -> pa.Table:
    """Stop unless every way gives the same features for every row, NaN and null alike; return the first's."""
    (first, way), *others = ways.items()
    answer = way()
    for name, other in others:
        if not np.array_equal(_values(answer), _values(other()), equal_nan=True):
            raise SystemExit(f"{name} gives other rows than {first}: nothing was timed.")
    return answer


def _values(table: pa.Table) -> np.ndarray:
    return np.column_stack([table[name].to_numpy() for name in FEATURES])
