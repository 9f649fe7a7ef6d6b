"""A month in little: pushes and events of a stream, few at a time; what they leave, and how reads of history fare.

Half of the events are pushed, one row each, by several threads; half come from a Redis Stream, a few a batch. Each
day another process reads history and asks for a training set, and this one, whose memory is shown, materializes. On ten
days, reads of a copy are compared with reads of one that was compacted just now, in turns.

python -m tests.benchmarks.bench_month [--events 1000000] [--days 30]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import redis
from deltalake import DeltaTable
from rich.console import Console
from rich.table import Table

from fs_core import Entity, FeatureStore, FeatureView, Field, StreamSource
from tests.servers import running_server

VIEW = FeatureView(
    "numbers",
    entity=Entity("user", keys={"user": "int64"}),
    fields=[Field(f"f{i}", "float64", "A number.") for i in range(10)],
    description="Ten numbers of a user.",
)
START = datetime(2025, 1, 1, tzinfo=UTC)
USERS, THREADS, TOGETHER, MOMENTS = 5_000, 8, 20, 20_000
DAYS, TIMES = 10, 21


def moment(number: int) -> datetime:
    """Return when an event was."""
    return START + timedelta(seconds=number)


def push(store: FeatureStore, numbers: Sequence[int]) -> None:
    """Push events one by one from several threads."""
    shared = iter(numbers)
    guard = threading.Lock()

    def work() -> None:
        while True:
            with guard:
                number = next(shared, None)
            if number is None:
                return
            row = {"user": [number % USERS], "event_timestamp": [moment(number)]}
            store.push(VIEW, row | {name: [float(number)] for name in VIEW.features})

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ingest(store: FeatureStore, client: redis.Redis, numbers: Sequence[int]) -> int:
    """Let events come by the stream, a few at a time; return in how many batches they were taken."""
    done = list[int]()
    taking = threading.Thread(
        target=lambda: done.append(store.ingest(VIEW, "stream", batch="1ms", until_idle="1s").batches)
    )
    taking.start()
    for start in range(0, len(numbers), TOGETHER):
        pipeline = client.pipeline(transaction=False)
        for number in numbers[start : start + TOGETHER]:
            event = {"user": number % USERS, "event_timestamp": moment(number).isoformat()}
            event |= {name: float(number) for name in VIEW.features}
            pipeline.xadd("numbers", {"m": json.dumps(event)})
        last = pipeline.execute()[-1]
        while not any(group["last-delivered-id"] == last for group in client.xinfo_groups("numbers")):
            time.sleep(0.001)  # else all would be one batch
    taking.join()
    return done[0]


def memory() -> float:
    """Return how many megabytes this process holds of its own, files that it has mapped left out."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def files(store: FeatureStore) -> tuple[int, int, int]:
    """Return how many commits history has, how many files its newest state, and how many lie on disk in all."""
    history = Path(store.directory, "history")
    newest = DeltaTable(str(history / VIEW.storage_name))
    return newest.version() + 1, len(newest.file_uris()), sum(len(f) for _, _, f in os.walk(history))


def seconds(act: Callable[[], object]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def training(store: FeatureStore) -> object:
    """Ask for a training set."""
    return store.get_historical_features(spine_of(), ["numbers.*"])


def reads(directory: str) -> dict[str, tuple[float, float]]:
    """Return how long reads of a copy of a store take, as it was left and freshly compacted."""
    # The index is brought to disk in the background, so that its files may come while these are deleted.
    with tempfile.TemporaryDirectory(dir=Path(directory).parent, ignore_cleanup_errors=True) as copies:
        paths = [shutil.copytree(directory, Path(copies, name)) for name in ("left", "compact")]
        with FeatureStore(paths[0]) as left, FeatureStore(paths[1]) as compact:
            compact.compact(VIEW)

            def compared(act: Callable[[FeatureStore], object]) -> tuple[float, float]:
                took = [[seconds(partial(act, store)) for store in (left, compact)] for _ in range(TIMES + 1)]
                first, second = (statistics.median(column) for column in zip(*took[1:], strict=True))
                return first, second

            def opened(store: FeatureStore) -> None:
                with FeatureStore(store.directory) as new:
                    training(new)

            return {
                "training set": compared(training),
                "store opened for it": compared(opened),
                "all rows": compared(lambda store: store.history(VIEW)),
            }


def spine_of() -> pa.Table:
    """Return moments at which users are asked for, when all is available."""
    draw = np.random.default_rng(1)
    now = datetime.now(UTC) + timedelta(days=1)
    users = draw.integers(0, USERS, MOMENTS)
    return pa.table({"user": users, "event_timestamp": pa.array([now] * MOMENTS, pa.timestamp("us", "UTC"))})


def day_of(store: FeatureStore, client: redis.Redis, reader: ProcessPoolExecutor, bounds: Sequence[int]) -> int:
    """Let the events of a day come, and be read; return in how many batches those of the stream were taken."""
    begin, middle, end = bounds
    push(store, range(begin, middle))
    batches = ingest(store, client, range(middle, end))
    rows = reader.submit(read, str(store.directory)).result()
    if rows != end:
        raise SystemExit(f"{rows} rows of {end} events: nothing is shown.")
    store.materialize(VIEW.name)
    return batches


def read(directory: str) -> int:
    """Ask for a training set; return how many rows history has."""
    with FeatureStore(directory) as store:
        training(store)
        return int(store.history(VIEW).num_rows)


def compared_reads(store: FeatureStore, reader: ProcessPoolExecutor) -> list[str]:
    """Return what to show of reads."""
    found = reader.submit(reads, str(store.directory)).result()
    return [f"{left * 1e3:.0f} / {fresh * 1e3:.0f} ms: {left / fresh:.2f}" for left, fresh in found.values()]


def main(words: Sequence[str] | None = None) -> None:
    """Play once, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30)
    asked = parser.parse_args(words)
    counts = ("day", "events", "batches", "commits", "files", "on disk", "MB")
    shown = ("training set", "store opened for it", "all rows")
    table = Table(
        *counts, *shown, title="files: of the newest state; reads: as it was left / compacted: ratio (bar 1.3)"
    )
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory,
        running_server("Valkey 9.1") as url,
        redis.Redis.from_url(url) as client,
        FeatureStore(Path(directory, "store")) as store,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as reader,
    ):
        store.apply(VIEW, StreamSource("stream", url=f"{url}/numbers", description="Numbers."))
        bounds = np.linspace(0, asked.events, 2 * asked.days + 1).astype(int).tolist()
        batches = 0
        for day in range(asked.days):
            batches += day_of(store, client, reader, bounds[2 * day : 2 * day + 3])
            if day % max(1, asked.days // DAYS) == 0 or day == asked.days - 1:
                numbers = [day + 1, bounds[2 * day + 2], batches, *files(store), round(memory())]
                table.add_row(*(f"{number:,}" for number in numbers), *compared_reads(store, reader))
        if store.verify_online(VIEW.name).total:
            raise SystemExit("online isn't what the rule says: nothing is shown.")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
