"""Filling an online store from history: rows a second, and the memory of the process that does it.

Run `make bench`, or `python -m tests.benchmarks.bench_materialize --rows 10000000`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from fs_core import Entity, FeatureStore, FeatureView, Field
from tests.servers import available_servers, running_server

VIEW = FeatureView(
    "numbers",
    entity=Entity("user", keys={"user": "int64"}, description="A user."),
    fields=[Field(f"f{i}", "float64", "A number.") for i in range(10)],
    description="Ten numbers of a user.",
)
_A_WRITE = 1_000_000
_YEAR = 365 * 86_400 * 10**6


def fill(directory: Path, rows: int, entities: int) -> None:
    """Write history: rows of random users at random moments of a year."""
    rng, start = np.random.default_rng(7), int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 10**6)
    with FeatureStore(directory) as store:
        store.apply(VIEW)
        for done in range(0, rows, _A_WRITE):
            count = min(_A_WRITE, rows - done)
            times = pa.array(start + rng.integers(0, _YEAR, count), pa.timestamp("us", tz="UTC"))
            values = {name: rng.normal(size=count) for name in VIEW.features}
            store.write(VIEW, {"user": rng.integers(0, entities, count), "event_timestamp": times, **values})


def materialize(directory: str, url: str) -> None:
    """Materialize in this process, which does nothing else; print seconds, rows sent and peak megabytes."""
    with FeatureStore(directory, online=url) as store:
        start = time.perf_counter()
        (done,) = store.materialize(VIEW)
        seconds = time.perf_counter() - start
        print(f"{seconds} {done.rows} {peak_megabytes()}")


def peak_megabytes() -> float:
    """Return the most memory this process ever had; what `getrusage` says counts the parent's as well."""
    (line,) = (text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Fill history once, then an empty store of each kind from it, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--from", dest="source", nargs=2, metavar=("DIRECTORY", "URL"), help="what a child is told")
    args = parser.parse_args()
    if args.source:
        materialize(*args.source)
        return
    title = f"Materialize {args.rows:,} history rows of {args.entities:,} users, 10 float64"
    table = Table("", "seconds", "history rows/s", "online rows/s", "peak memory", title=title, title_justify="left")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        fill(Path(folder), args.rows, args.entities)
        urls = {"SQLite": "sqlite"}
        urls |= {name: servers.enter_context(running_server(name)) for name in available_servers()}
        for name, url in urls.items():
            words = [sys.executable, "-m", "tests.benchmarks.bench_materialize", "--from", folder, url]
            said = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
            seconds, sent, peak = map(float, said)
            rates = (f"{args.rows / seconds:,.0f}", f"{sent / seconds:,.0f}")
            table.add_row(name, f"{seconds:.2f}", *rates, f"{peak:,.0f} MiB")
    Console().print(table)


if __name__ == "__main__":
    main()
