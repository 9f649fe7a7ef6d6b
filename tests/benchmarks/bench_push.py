"""Pushes of one row: how long one takes, how many threads and processes manage, and what is left in history.

Then the same on a Valkey server beside Feast's push, with its offline store off and on; ours is always on.

python -m tests.benchmarks.bench_push [--seconds 5] [--pushes 100000] [--url sqlite]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from fs_core import Entity, FeatureStore, FeatureView, Field
from tests.benchmarks.feast.process import FEAST, NAME
from tests.servers import running_server

VIEW = FeatureView(
    "numbers",
    entity=Entity("user", keys={"user": "int64"}),
    fields=[Field(f"f{i}", "float64", "A number.") for i in range(10)],
    description="Ten numbers of a user.",
)
MOMENT = datetime(2025, 1, 1, tzinfo=UTC)
NUMBERS = {name: [float(place)] for place, name in enumerate(VIEW.features)}
THREADS = 16


def push(store: FeatureStore, user: int) -> None:
    """Push a row of a user."""
    store.push(VIEW, {"user": [user], "event_timestamp": [MOMENT], **NUMBERS})


def one_thread(store: FeatureStore, seconds: float) -> list[float]:
    """Push for some seconds; return how many milliseconds each push took."""
    took, ends = list[float](), time.perf_counter() + seconds
    while (start := time.perf_counter()) < ends:
        push(store, len(took))
        took.append((time.perf_counter() - start) * 1e3)
    return took


def threads(store: FeatureStore, seconds: float, pushes: int | None = None) -> float:
    """Let threads push for some seconds, or until there are so many pushes; return how many a second."""
    counts, start = [0] * THREADS, time.perf_counter()

    def work(me: int) -> None:
        while sum(counts) < pushes if pushes else time.perf_counter() < start + seconds:
            push(store, me)
            counts[me] += 1

    running = [threading.Thread(target=work, args=(me,)) for me in range(THREADS)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def processes(directory: str, url: str, seconds: float, count: int) -> float:
    """Let processes of as many threads each push to one store at once; return how many pushes a second in all."""
    words = [sys.executable, "-m", "tests.benchmarks.bench_push", "--child", directory]
    words += ["--url", url, "--seconds", str(seconds)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return sum(float(process.communicate()[0]) for process in running)


def beside_feast(seconds: float) -> Table:
    """Return how long pushes of one thread to the same server take."""
    table = Table("one row a push, one thread", "p50", "p99", "x ours", title="Push to Valkey 9.1 beside Feast")
    with tempfile.TemporaryDirectory() as directory, running_server("Valkey 9.1") as url:
        with FeatureStore(Path(directory, "store"), online=url) as store:
            store.apply(VIEW)
            push(store, 0)
            took = {"history and online": one_thread(store, seconds)}
        if FEAST.exists():
            theirs = feast_pushes(Path(directory, "history.parquet"), url, seconds)
            took |= {f"{NAME}, offline store {mode}": found for mode, found in theirs.items()}
    ours = statistics.median(next(iter(took.values())))
    for name, found in took.items():
        p50, p99 = np.percentile(found, [50, 99])
        table.add_row(name, f"{p50:.1f} ms", f"{p99:.1f} ms", f"{p50 / ours:.1f}")
    return table


def feast_pushes(history: Path, url: str, seconds: float) -> dict[str, list[float]]:
    """Return how many milliseconds each of Feast's pushes took, by whether its offline store is on."""
    row = {"user": [0], "event_timestamp": pa.array([MOMENT], pa.timestamp("us", "UTC")), **NUMBERS}
    pq.write_table(pa.table(row), history)
    script = Path(__file__).parent / "feast" / "pushing.py"
    words = [str(FEAST.absolute()), "-W", "ignore", str(script), str(history), f"{urlsplit(url).netloc},db=1"]
    done = subprocess.run([*words, str(seconds)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"Feast failed: {done.stderr[-2000:]}")
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Measure each in a new store, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--pushes", type=int, default=100_000)
    parser.add_argument("--url", default="sqlite", help="the online store")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.child:
        with FeatureStore(asked.child, online=asked.url) as store:
            push(store, 0)
            print(threads(store, asked.seconds))
        return
    table = Table("one row a push", "", "bar (stretch)", title=f"Push to {asked.url}")
    with tempfile.TemporaryDirectory() as directory, FeatureStore(directory, online=asked.url) as store:
        store.apply(VIEW)
        push(store, 0)
        table.add_row("one thread, p50", f"{statistics.median(one_thread(store, asked.seconds)):.1f} ms", "8 (3) ms")
        table.add_row(f"{THREADS} threads", f"{threads(store, asked.seconds):,.0f}/s", "1,000 (5,000)/s")
        table.add_row("2 processes of as many", f"{processes(directory, asked.url, asked.seconds, 2):,.0f}/s", "")
        threads(store, 0, asked.pushes)
        rows = store.history(VIEW).num_rows
        files = len(DeltaTable(str(Path(directory, "history", VIEW.storage_name))).file_uris())
        on_disk = len(list(Path(directory, "history").rglob("*.*")))
        table.add_row(f"after {rows:,} pushes", f"{files:,} files in history, {on_disk:,} in all on disk", "< 200")
    Console(width=100).print(table)
    Console(width=100).print(beside_feast(asked.seconds))


if __name__ == "__main__":
    main()
