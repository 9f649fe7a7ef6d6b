"""What the request log costs a read, also when its disk hangs, and how fast a log is replayed.

python -m tests.benchmarks.monitoring.bench_log [--reads 5000] [--runs 7] [--rows 1000000]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.monitoring.log.tables import LogTable

ENTITIES = 20_000
BATCH = 10_000


def filled(directory: Path) -> FeatureStore:
    """Return a store with one view of ten features, online."""
    store = FeatureStore(directory)
    fields = [Field(f"x{n}", "float64", "X.") for n in range(10)]
    store.apply(FeatureView("v", entity=Entity("e", keys={"k": "int64"}), fields=fields, description="V.", online=True))
    moment = datetime.now(UTC) - timedelta(days=1)
    columns = {f"x{n}": np.random.default_rng(n).random(ENTITIES) for n in range(10)}
    store.write("v", pa.table({"k": np.arange(ENTITIES), "event_timestamp": pa.repeat(moment, ENTITIES), **columns}))
    store.materialize()
    return store


def seconds_of(store: FeatureStore, reads: int, size: int, **options: Any) -> np.ndarray[Any, Any]:
    """Return how long each of so many reads of random entities took."""
    asked = np.random.default_rng(7).integers(0, ENTITIES, (reads, size)).tolist()
    taken = np.empty(reads)
    for number, keys in enumerate(asked):
        start = time.perf_counter()
        store.get_online_features("v", {"k": keys}, **options)
        taken[number] = time.perf_counter() - start
    return taken


def costs(store: FeatureStore, reads: int, size: int, runs: int) -> dict[str, list[tuple[float, float]]]:
    """Return sum and p99 of the reads of each run, in turns: without a log, with one, and with one whose disk hangs."""
    found: dict[str, list[tuple[float, float]]] = {"no log": [], "rate 0.1": [], "rate 0.1, disk hangs": []}
    append, free = LogTable.append, threading.Event()
    for run in range(runs + 1):
        for name, kept in found.items():
            if "hangs" in name:
                LogTable.append = lambda *_: free.wait()  # type: ignore[assignment, method-assign]
            options = {} if name == "no log" else {"log": "bench", "log_rate": 0.1}
            taken = seconds_of(store, reads, size, **options)
            if "hangs" in name:
                store.flush_log(within="10ms")
                taken = seconds_of(store, reads, size, **options)
                free.set()
            store.flush_log()
            LogTable.append = append  # type: ignore[method-assign]
            free.clear()
            if run:
                kept.append((float(taken.sum()), float(np.quantile(taken, 0.99))))
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Print ratios of medians, and rows replayed a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked, console = parser.parse_args(words), Console()
    with tempfile.TemporaryDirectory() as directory, filled(Path(directory) / "store") as store:
        for size in (1, 100):
            found = costs(store, asked.reads // size + 200, size, asked.runs)
            base = [statistics.median(values) for values in zip(*found["no log"], strict=True)]
            for name, kept in found.items():
                total, p99 = (statistics.median(values) for values in zip(*kept, strict=True))
                shown = f"time x{total / base[0]:.3f}, p99 {p99 * 1e3:.3f} ms (x{p99 / base[1]:.2f})"
                console.print(f"{size} entities, {name}: {shown}")
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
