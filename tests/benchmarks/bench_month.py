"""A month in little: pushes and events of a stream, few at a time; what they leave, and how reads of history fare.

Half of the events are pushed, one row each, by several threads; half come from a Redis Stream, a few a commit. Each
day somebody reads history, and materializes.

python -m tests.benchmarks.bench_month [--events 1000000] [--days 30]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
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
    """Let events come by the stream, a few at a time; return how many commits that made."""
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
            time.sleep(0.001)  # else all would be one commit
    taking.join()
    return done[0]


def memory() -> float:
    """Return how many megabytes this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def files(store: FeatureStore) -> tuple[int, int]:
    """Return how many files the newest state of history has, and how many lie on disk in all."""
    history = Path(store.directory, "history")
    return len(DeltaTable(str(history / VIEW.storage_name)).file_uris()), sum(len(f) for _, _, f in os.walk(history))


def seconds(act: Callable[[], object], times: int = 5) -> float:
    """Return how long something takes, the median of some times."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        act()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def reads(store: FeatureStore, spine: pa.Table) -> dict[str, float]:
    """Return how long reads of history take."""
    first = seconds(lambda: store.get_historical_features(spine, ["numbers.*"]), 1)
    return {
        "training set, first": first,
        "training set": seconds(lambda: store.get_historical_features(spine, ["numbers.*"])),
        "all rows": seconds(lambda: store.history(VIEW)),
    }


def spine_of() -> pa.Table:
    """Return moments at which users are asked for, when all is available."""
    draw = np.random.default_rng(1)
    now = datetime.now(UTC) + timedelta(days=1)
    users = draw.integers(0, USERS, MOMENTS)
    return pa.table({"user": users, "event_timestamp": pa.array([now] * MOMENTS, pa.timestamp("us", "UTC"))})


def main(words: Sequence[str] | None = None) -> None:
    """Play once, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30)
    asked = parser.parse_args(words)
    table = Table("after day", "events", "commits of the stream", "files", "on disk", "MB of memory")
    with (
        tempfile.TemporaryDirectory() as directory,
        running_server("Valkey 9.1") as url,
        redis.Redis.from_url(url) as client,
    ):
        with FeatureStore(Path(directory, "store")) as store:
            store.apply(VIEW, StreamSource("stream", url=f"{url}/numbers", description="Numbers."))
            bounds = np.linspace(0, asked.events, 2 * asked.days + 1).astype(int).tolist()
            commits = 0
            for day in range(asked.days):
                begin, middle, end = bounds[2 * day : 2 * day + 3]
                push(store, range(begin, middle))
                commits += ingest(store, client, range(middle, end))
                rows = store.history(VIEW).num_rows
                if rows != end:
                    raise SystemExit(f"{rows} rows of {end} events: nothing is shown.")
                store.materialize(VIEW.name)
                if day in (0, asked.days // 2, asked.days - 1):
                    table.add_row(str(day + 1), f"{rows:,}", f"{commits:,}", *map(str, files(store)), f"{memory():.0f}")
            if store.verify_online(VIEW.name).total:
                raise SystemExit("online isn't what the rule says: nothing is shown.")
        shutil.copytree(Path(directory, "store"), Path(directory, "compact"))
        spine = spine_of()
        with FeatureStore(Path(directory, "compact")) as compact:
            compact.compact(VIEW)
        found = {}
        for name in ("store", "compact"):
            with FeatureStore(Path(directory, name)) as store:
                found[name] = reads(store, spine)
    console = Console(width=100)
    console.print(table)
    times = Table("read of history", "as it was left", "freshly compacted", "ratio (bar 1.3)")
    for what, left in found["store"].items():
        fresh = found["compact"][what]
        times.add_row(what, f"{left:.3f} s", f"{fresh:.3f} s", f"{left / fresh:.2f}")
    console.print(times)


if __name__ == "__main__":
    main()
