"""One large write beside what it can't do without: the Delta library's append, and Arrow's sort of the same rows.

python -m tests.benchmarks.bench_write [--rows 5000000] [--runs 3]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import write_deltalake
from rich.console import Console
from rich.table import Table

from fs_core import Entity, FeatureStore, FeatureView, Field

VIEW = FeatureView(
    "numbers",
    entity=Entity("user", keys={"user": "int64"}),
    fields=[Field(f"f{i}", "float64", "A number.") for i in range(10)],
    description="Ten numbers of a user.",
    online=False,
)
BAR, STRETCH = 1.2, 0.8  # of append and sort together
_YEAR = 365 * 86_400 * 10**6
_BATCH = 100_000


def facts(rows: int) -> pa.Table:
    """Return rows of random users at random moments of a year, a hundred for each user."""
    rng, start = np.random.default_rng(7), int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 10**6)
    times = pa.array(start + rng.integers(0, _YEAR, rows), pa.timestamp("us", tz="UTC"))
    values = {name: rng.normal(size=rows) for name in VIEW.features}
    return pa.table({"user": rng.integers(0, max(1, rows // 100), rows), "event_timestamp": times, **values})


def arrow_sort(table: pa.Table) -> None:
    """Sort by user and time, as history is searched."""
    order = [("user", "ascending"), ("event_timestamp", "ascending")]
    table.take(pc.sort_indices(table, sort_keys=order))


def raw_append(table: pa.Table) -> None:
    """Append to a new Delta table, as rows come."""
    with tempfile.TemporaryDirectory() as directory:
        write_deltalake(str(Path(directory, "table")), table)


def ours(table: pa.Table, *, stream: bool = False) -> None:
    """Write to a new store."""
    with tempfile.TemporaryDirectory() as directory, FeatureStore(directory) as store:
        store.apply(VIEW)
        reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(_BATCH)) if stream else table
        if store.write(VIEW, reader) != table.num_rows:
            raise SystemExit("rows are missing: no time is shown.")


def main(words: Sequence[str] | None = None) -> None:
    """Run every way in turn, so that a noisy moment of the machine is shared; print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args(words)
    data = facts(asked.rows)
    ways: dict[str, Callable[[], None]] = {
        "Delta append": lambda: raw_append(data),
        "Arrow sort": lambda: arrow_sort(data),
        "ours, a table": lambda: ours(data),
        "ours, a stream": lambda: ours(data, stream=True),
    }
    ours(data.slice(0, 1_000))  # imports
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.runs):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    floor = medians["Delta append"] + medians["Arrow sort"]
    table = Table("", "seconds", "of append and sort", "bar (stretch)", title=f"Write {asked.rows:,} rows, 10 float64")
    for name, median in medians.items():
        bar = f"<= {BAR} ({STRETCH})" if name.startswith("ours") else ""
        table.add_row(name, f"{median:.2f}", f"{median / floor:.2f}", bar)
    Console(width=100).print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{data.nbytes >> 20:,} MiB of rows; the process took {peak:,} MiB at most")


if __name__ == "__main__":
    main()
