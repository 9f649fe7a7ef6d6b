"""What the request log costs reads in all, also when its disk hangs, and how fast a log is replayed.

    python -m tests.benchmarks.monitoring.bench_log [--rounds 10] [--rows 1000000]

In a round the same reads take turns, a few with a log of every tenth entity and a few without; at its end the log is
written, and the reader waits for that: so all that the log costs lies inside, whichever thread pays for it. Compared
are the time that passed, which says by how much fewer reads there are, and the time that processors were at work for
this process, where a busy machine matters less. Printed are the medians of the rounds, the least and the greatest.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
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
SIZES = {1: (50, 1600), 100: (10, 480), 1000: (2, 240)}
"""Entities of a read, reads of a turn, and turns of a round: of so few rows that the thread waits for its end, and of
so many that it writes once in a round as seldom as in service, where it waits half a minute or for 50,000 rows."""
_PARTS = 10
_HANGING = 100  # turns while the disk hangs

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


def _clocks() -> Floats:
    """Return the time of the clock, that of the process's threads, and that of this thread, seconds."""
    return np.array([time.perf_counter(), time.process_time(), time.thread_time()])


def rounds(store: FeatureStore, count: int, size: int) -> Floats:
    """Return the seconds of reads, [round, without a log or with one, `_clocks`]; who begins takes turns.

    Args:
        store: is read.
        count: rounds.
        size: entities of a read.
    """
    (reads, turns), random, taken = SIZES[size], np.random.default_rng(7), np.zeros((count, 2, 3))
    for seconds in taken:
        store.flush_log()
        for turn in range(turns):
            asked = random.integers(0, ENTITIES, (reads, size)).tolist()
            for logged in (turn % 2, 1 - turn % 2):
                start = _clocks()
                for keys in asked:
                    store.get_online_features("v", {"k": keys}, log="bench" if logged else None, log_rate=RATE)
                seconds[logged] += _clocks() - start
        start = _clocks()
        store.flush_log()
        seconds[1] += _clocks() - start
    return taken


def latencies(store: FeatureStore, size: int) -> Floats:
    """Return how long single reads took, seconds [without a log or with one, read].

    Args:
        store: is read.
        size: entities of a read.
    """
    reads, random = SIZES[size][0], np.random.default_rng(8)
    taken = np.empty((2, _HANGING, reads))
    for turn in range(_HANGING):
        asked = random.integers(0, ENTITIES, (reads, size)).tolist()
        for logged in (turn % 2, 1 - turn % 2):
            for number, keys in enumerate(asked):
                start = time.perf_counter()
                store.get_online_features("v", {"k": keys}, log="bench" if logged else None, log_rate=RATE)
                taken[logged, turn, number] = time.perf_counter() - start
    return taken.reshape(2, -1)


def tail(plain: Floats, logged: Floats) -> float:
    """Return the 99th percentile with a log as a multiple of that without: the median of ten parts of the run."""
    parts = (np.array_split(side, _PARTS) for side in (logged, plain))
    return float(
        np.median([np.quantile(one, 0.99) / np.quantile(other, 0.99) for one, other in zip(*parts, strict=True)])
    )


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
    for size, (reads, turns) in SIZES.items():
        with filled(online) as store:
            rounds(store, 1, size)
            taken = rounds(store, count, size)
            with hanging_disk(store):
                plain, logged = latencies(store, size)
        each = np.median(taken[:, 0], axis=0) / (reads * turns)
        passed, worked, reader = (_spread(one) for one in (taken[:, 1] / taken[:, 0] - 1).T)
        console.print(
            f"{name}, {size:,} entities: {each[0] * 1e6:,.0f} µs a read, {each[1] * 1e6:,.0f} µs of work; with the log "
            f"time {passed}, work {worked}, the reader's alone {reader}; disk hangs: p99 {tail(plain, logged):.2f} x",
            soft_wrap=True,
        )


def _spread(shares: Floats) -> str:
    return f"{np.median(shares):+.1%} ({shares.min():+.1%} to {shares.max():+.1%})"


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
    parser.add_argument("--rounds", type=int, default=10, help="0: only replay")
    parser.add_argument("--rows", type=int, default=1_000_000, help="0: don't replay")
    asked, console = parser.parse_args(words), Console()
    if asked.rounds:
        cost(console, "SQLite", None, asked.rounds)
        for name in available_servers()[:1]:
            with running_server(name) as url:
                cost(console, name, url, asked.rounds)
    if asked.rows:
        replayed(console, asked.rows)


if __name__ == "__main__":
    main()
