"""What the request log costs a read, also when its disk hangs, and how fast a log is replayed.

python -m tests.benchmarks.monitoring.bench_log [--blocks 200] [--rows 1000000]
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.monitoring.log.tables import LogTable

ENTITIES = 20_000
BATCH = 10_000


def filled(directory: Path, online: str | None = None) -> FeatureStore:
    """Return a store with one view of ten features, online."""
    store = FeatureStore(directory, online=online)
    fields = [Field(f"x{n}", "float64", "X.") for n in range(10)]
    store.apply(FeatureView("v", entity=Entity("e", keys={"k": "int64"}), fields=fields, description="V.", online=True))
    moment = datetime.now(UTC) - timedelta(days=1)
    columns = {f"x{n}": np.random.default_rng(n).random(ENTITIES) for n in range(10)}
    store.write("v", pa.table({"k": np.arange(ENTITIES), "event_timestamp": pa.repeat(moment, ENTITIES), **columns}))
    store.materialize()
    return store


def ratios(store: FeatureStore, blocks: int, reads: int, size: int) -> tuple[float, float]:
    """Return the time of reads at rate 0.1 as a multiple of that without a log, block by block; and of their p99."""
    random, taken = np.random.default_rng(7), {None: np.empty((blocks, reads)), "bench": np.empty((blocks, reads))}
    for block in range(blocks):
        asked = random.integers(0, ENTITIES, (reads, size)).tolist()
        for log, seconds in taken.items() if block % 2 else reversed(taken.items()):
            for number, keys in enumerate(asked):
                start = time.perf_counter()
                store.get_online_features("v", {"k": keys}, log=log, log_rate=0.1)
                seconds[block, number] = time.perf_counter() - start
    plain, logged = taken[None], taken["bench"]
    times = float(np.median(np.median(logged, axis=1) / np.median(plain, axis=1)))
    return times, float(np.quantile(logged, 0.99) / np.quantile(plain, 0.99))


def with_hanging_disk(store: FeatureStore, blocks: int, reads: int, size: int) -> tuple[float, float]:
    """Return what `ratios` does while the log's thread hangs in a write."""
    append, free = LogTable.append, threading.Event()
    LogTable.append = lambda *_: free.wait()  # type: ignore[assignment, method-assign]
    try:
        store.get_online_features("v", {"k": [1]}, log="bench")
        store.flush_log(within="10ms")
        return ratios(store, blocks, reads, size)
    finally:
        free.set()
        store.flush_log()
        LogTable.append = append  # type: ignore[method-assign]


def main(words: Sequence[str] | None = None) -> None:
    """Print ratios of medians, and rows replayed a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked, console = parser.parse_args(words), Console()
    with tempfile.TemporaryDirectory() as directory, filled(Path(directory) / "store") as store:
        for size, reads in ((1, 100), (100, 10)):
            for name, measure in (("rate 0.1", ratios), ("rate 0.1, disk hangs", with_hanging_disk)):
                times, p99 = measure(store, asked.blocks, reads, size)
                store.flush_log()
                console.print(f"{size} entities, {name}: {times:.3f} x the time without a log, p99 {p99:.2f} x")
        keys = np.arange(BATCH)
        for _ in range(asked.rows // BATCH):
            store.get_online_features("v", {"k": keys}, log="replayed")
            store.flush_log()
        start = time.perf_counter()
        report = store.replay("replayed")
        rate = report.rows / (time.perf_counter() - start)
        console.print(f"{report.rows:,} rows replayed, {rate:,.0f} rows/s, {dict(report.counts)}")


if __name__ == "__main__":
    main()
