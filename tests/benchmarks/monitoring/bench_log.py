"""What the request log costs a read, also when its disk hangs, and how fast a log is replayed.

    python -m tests.benchmarks.monitoring.bench_log [--blocks 300] [--rows 1000000]

Blocks of the same reads take turns, with and without a log of every tenth entity. What is compared is the time that
the reader's thread was at work, so that a busy machine matters little: the median of the ratios of neighbours, and
between which it lies with a probability of 95 %. The thread that writes works for all reads: what it and the libraries
under it take for a row, on any core, is added to the last column.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.monitoring.log.tables import LogTable
from tests.servers import available_servers, running_server

ENTITIES = 20_000
BATCH = 10_000
RATE = 0.1
SIZES = {1: 50, 100: 10, 1000: 2}
"""Entities of a read, and reads of a block."""
_PARTS = 10
_WAITING = 19_000  # rows: the thread begins by itself at 20,000

Floats = np.ndarray[Any, np.dtype[np.float64]]


@contextmanager
def filled(online: str | None) -> Iterator[FeatureStore]:
    """Yield a store with one view of ten features, online."""
    with tempfile.TemporaryDirectory() as directory, FeatureStore(Path(directory) / "store", online=online) as store:
        fields = [Field(f"x{n}", "float64", "X.") for n in range(10)]
        user = Entity("e", keys={"k": "int64"})
        store.apply(FeatureView("v", entity=user, fields=fields, description="V.", online=True))
        moment = datetime.now(UTC) - timedelta(days=1)
        columns = {f"x{n}": np.random.default_rng(n).random(ENTITIES) for n in range(10)}
        store.write(
            "v", pa.table({"k": np.arange(ENTITIES), "event_timestamp": pa.repeat(moment, ENTITIES), **columns})
        )
        store.materialize()
        yield store


def blocks(store: FeatureStore, count: int, size: int, clock: Callable[[], float]) -> tuple[Floats, Floats]:
    """Return the seconds of reads without a log and with one, [block, read] each; who begins takes turns.

    Args:
        store: is read.
        count: blocks of each.
        size: entities of a read.
        clock: shows seconds.
    """
    reads = SIZES[size]
    random, taken = np.random.default_rng(7), {None: np.empty((count, reads)), "bench": np.empty((count, reads))}
    for block in range(count):
        asked = random.integers(0, ENTITIES, (reads, size)).tolist()
        for log, seconds in taken.items() if block % 2 else reversed(taken.items()):
            for number, keys in enumerate(asked):
                start = clock()
                store.get_online_features("v", {"k": keys}, log=log, log_rate=RATE)
                seconds[block, number] = clock() - start
    return taken[None], taken["bench"]


def median(values: Floats) -> tuple[float, float, float]:
    """Return the median of independent values, and between which two it lies with a probability of 95 %."""
    ordered, wide = np.sort(values), 0.98 * np.sqrt(len(values))
    low, high = (int(np.clip(len(values) / 2 + side * wide, 0, len(values) - 1)) for side in (-1, 1))
    return float(np.median(values)), float(ordered[low]), float(ordered[high])


def tail(plain: Floats, logged: Floats) -> float:
    """Return the 99th percentile with a log as a multiple of that without: the median of ten parts of the run."""
    parts = (np.array_split(side, _PARTS) for side in (logged, plain))
    return float(
        np.median([np.quantile(one, 0.99) / np.quantile(other, 0.99) for one, other in zip(*parts, strict=True)])
    )


def seconds_to_write(store: FeatureStore, size: int) -> float:
    """Return for how long processors are at work to write a row, of reads of which so many rows are logged."""
    keys, reads = list(range(size)), _WAITING // size
    store.flush_log()
    for _ in range(reads):
        store.get_online_features("v", {"k": keys}, log="bench", log_rate=1)
    start = time.process_time()
    store.flush_log()
    return (time.process_time() - start) / (reads * size)


@contextmanager
def hanging_disk(store: FeatureStore) -> Iterator[None]:
    """Have the log's thread hang in a write."""
    append, free = LogTable.append, threading.Event()
    LogTable.append = lambda *_: free.wait()  # type: ignore[assignment, method-assign]
    try:
        store.get_online_features("v", {"k": [1]}, log="bench")
        store.flush_log(within="10ms")
        yield
    finally:
        free.set()
        store.flush_log()
        LogTable.append = append  # type: ignore[method-assign]


def cost(console: Console, name: str, online: str | None, count: int) -> None:
    """Print what the log costs reads from one online store."""
    for size in SIZES:
        with filled(online) as store:
            blocks(store, 3, size, time.thread_time)
            plain, logged = blocks(store, count, size, time.thread_time)
            times, low, high = median(logged.sum(axis=1) / plain.sum(axis=1))
            read = float(np.median(plain))
            with_thread = times + seconds_to_write(store, max(1, round(RATE * size))) * RATE * size / read
            with hanging_disk(store):
                plain, logged = blocks(store, count, size, time.perf_counter)
            p99 = tail(plain, logged)
        console.print(
            f"{name}, {size:,} entities: {read * 1e6:,.0f} µs, with the log {times:.3f} x ({low:.3f} to {high:.3f}), "
            f"the writing thread included {with_thread:.3f} x; disk hangs: p99 {p99:.2f} x",
            soft_wrap=True,
        )


def replayed(console: Console, rows: int) -> None:
    """Print how fast a log of clean rows is replayed, and what was found."""
    with filled(None) as store:
        keys = np.arange(BATCH)
        for _ in range(rows // BATCH):
            store.get_online_features("v", {"k": keys}, log="replayed")
            store.flush_log()
        start = time.perf_counter()
        report = store.replay("replayed")
        seconds = time.perf_counter() - start
        found = {kind: count for kind, count in report.counts.items() if count or kind == "unexplained"}
        rate = report.rows / seconds
        console.print(f"{report.rows:,} rows replayed in {seconds:.1f} s, {rate:,.0f} rows/s: {found}", soft_wrap=True)


def main(words: Sequence[str] | None = None) -> None:
    """Print what the log costs, and rows replayed a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=300, help="0: only replay")
    parser.add_argument("--rows", type=int, default=1_000_000, help="0: don't replay")
    asked, console = parser.parse_args(words), Console()
    if asked.blocks:
        cost(console, "SQLite", None, asked.blocks)
        for name in available_servers()[:1]:
            with running_server(name) as url:
                cost(console, name, url, asked.blocks)
    if asked.rows:
        replayed(console, asked.rows)


if __name__ == "__main__":
    main()
