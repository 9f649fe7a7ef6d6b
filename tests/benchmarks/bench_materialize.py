"""Filling an empty online store from history, beside Feast: rows a second, and the memory of the process that does it.

Each run is of a process that does nothing else. On a server ours take turns with Feast's, which reads the same rows
from one Parquet file and brings them to the same server; both must have brought the same numbers.
Run `make bench`, or at the size of the bar: `python -m tests.benchmarks.bench_materialize --rows 10000000`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import redis
from rich.console import Console
from rich.table import Table

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.online.contract import ORDER
from fs_core.online.row.codec import RowCodec
from fs_core.online.sqlite import _COMPARE_AND_SET, SQLiteOnlineStore
from tests.benchmarks.feast.process import FEAST, NAME, running_feast
from tests.servers import available_servers, running_server

VIEW = FeatureView(
    "numbers",
    entity=Entity("user", keys={"user": "int64"}, description="A user."),
    fields=[Field(f"f{i}", "float64", "A number.") for i in range(10)],
    description="Ten numbers of a user.",
)
BAR, STRETCH = 10, 20  # times our seconds, for ten million rows
_A_WRITE = 1_000_000
_CHECKED = 1_000  # users whose numbers are compared
_YEAR = 365 * 86_400 * 10**6


@dataclass(frozen=True)
class Run:
    """One filling: wall-clock seconds, rows sent, and the most megabytes that its process ever had."""

    seconds: float
    rows: float
    peak: float


def fill(directory: Path, file: Path, rows: int, entities: int) -> None:
    """Write history, and the same to one file for Feast: rows of random users at random moments of a year."""
    rng, start = np.random.default_rng(7), int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 10**6)
    with FeatureStore(directory) as store, ExitStack() as closing:
        store.apply(VIEW)
        written = None
        for done in range(0, rows, _A_WRITE):
            count = min(_A_WRITE, rows - done)
            times = pa.array(start + rng.integers(0, _YEAR, count), pa.timestamp("us", tz="UTC"))
            values = {name: rng.normal(size=count) for name in VIEW.features}
            table = pa.table({"user": rng.integers(0, entities, count), "event_timestamp": times, **values})
            store.write(VIEW, table)
            written = written or closing.enter_context(pq.ParquetWriter(file, table.schema))
            written.write_table(table)


def materialize(directory: str, url: str) -> None:
    """Materialize in this process, which does nothing else; print the run."""
    with FeatureStore(directory, online=url) as store:
        store.apply(VIEW)  # as Feast's process has, whose registry is open by then
        importlib.import_module("pandas")  # which Arrow loads where it is installed; Feast's process has it as well
        start = time.perf_counter()
        (done,) = store.materialize(VIEW)
        seconds = time.perf_counter() - start
    print(json.dumps([seconds, done.rows, peak_megabytes()]))


def raw(directory: Path) -> Run:
    """Write the same packed rows, as they come, by plain `executemany` of the same statement; packing isn't counted."""
    with FeatureStore(directory) as store, tempfile.TemporaryDirectory() as folder:
        batches = store.offline.winners(VIEW, until=store._clock.now()).rows
        parts = [RowCodec(VIEW).encode(pa.Table.from_batches([batch])) for batch in batches]
        name = VIEW.storage_name
        written = [[("project", name, k, r[ORDER], r) for k, r in zip(p.keys, p.rows, strict=True)] for p in parts]
        SQLiteOnlineStore(Path(folder, "online.db"), project="project").drop(name)  # makes the table
        with closing(sqlite3.connect(Path(folder, "online.db"), isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=NORMAL")
            start = time.perf_counter()
            for rows in written:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(_COMPARE_AND_SET, rows)
                connection.execute("COMMIT")
            seconds = time.perf_counter() - start
    return Run(seconds, sum(map(len, written)), 0)


def peak_megabytes() -> float:
    """Return the most memory this process ever had; what `getrusage` says counts the parent's as well."""
    (line,) = (text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def ours(directory: Path, url: str) -> Run:
    """Fill an online store, empty before, by a process of its own."""
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            client.flushdb()
    words = [sys.executable, "-m", "tests.benchmarks.bench_materialize", "--from", str(directory), url]
    return Run(*json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))


def in_turns(directory: Path, file: Path, url: str, entities: int) -> tuple[list[Run], list[Run]]:
    """Fill a server by us, once by Feast and by us again; return our runs, and Feast's where it is installed."""
    with running_feast(file, url) as feast:
        mine = [ours(directory, url) for _ in range(2)]
        if feast is None:
            return mine, []
        seconds, peak = feast.materialize()
        mine += [ours(directory, url) for _ in range(3)]
        users = np.random.default_rng(8).choice(entities, min(_CHECKED, entities), replace=False)
        with FeatureStore(directory, online=url, deadline="5s") as store:
            numbers = store.get_online_features(VIEW, {"user": users}).to_numpy()
        if not np.array_equal(numbers, feast.values(users), equal_nan=True):
            raise SystemExit(f"{NAME} brings other numbers online: no time is shown.")
    return mine, [Run(seconds, mine[0].rows, peak)]


def main() -> None:
    """Fill history once, then an empty store of each kind from it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--from", dest="source", nargs=2, metavar=("DIRECTORY", "URL"), help="what a child is given")
    args = parser.parse_args()
    if args.source:
        materialize(*args.source)
        return
    title = f"Materialize {args.rows:,} history rows of {args.entities:,} users, 10 float64"
    columns = ("", "seconds", "history rows/s", "online rows/s", "peak memory", "times ours", "bar at 10 M (stretch)")
    table = Table(*columns, title=title, title_justify="left")

    def add(name: str, runs: list[Run], *beside: str) -> None:
        seconds, peak = statistics.median(run.seconds for run in runs), max(run.peak for run in runs)
        rates = (f"{args.rows / seconds:,.0f}", f"{runs[0].rows / seconds:,.0f}")
        table.add_row(name, f"{seconds:.2f}", *rates, f"{peak:,.0f} MiB", *beside)

    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        directory, file = Path(folder, "store"), Path(folder, "history.parquet")
        fill(directory, file, args.rows, args.entities)
        mine, plain = ours(directory, "sqlite"), raw(directory)
        add("SQLite", [mine])
        add("SQLite, raw executemany", [plain], f"{plain.seconds / mine.seconds:.2f}", ">= 0.6 (0.9)")
        for name in available_servers():
            mine, theirs = in_turns(directory, file, servers.enter_context(running_server(name)), args.entities)
            add(name, mine)
            for run in theirs:
                multiple = run.seconds / statistics.median(run.seconds for run in mine)
                add(f"{name}, {NAME}", theirs, f"{multiple:.1f}", f">= {BAR} ({STRETCH})")
    Console(width=120).print(table)
    if not FEAST.exists():
        print("Feast isn't installed: make .venv-feast/.installed")


if __name__ == "__main__":
    main()
