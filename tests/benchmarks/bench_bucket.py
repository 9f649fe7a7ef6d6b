"""History on S3: what a question about one feature of a wide view fetches, cold and warm, and what a write asks for.

python -m tests.benchmarks.bench_bucket --rows 10000000 --features 50 [--windows]

Ten million rows of 50 features are 4.3 GB that the server keeps below `TMPDIR`; it may take 6 GB of memory besides.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.offline.objects.path import ObjectPath
from tests.buckets import Relay, running_s3

THING = Entity("thing", keys={"k": "int64"}, description="A thing.")
URL = "s3://history/bench"
PART = 500_000
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def view_of(features: int, windows: bool) -> FeatureView:
    """Return a view of so many float64 columns: features, or those of events."""
    fields = [Field(f"f{n}", "float64", "A number.") for n in range(features)]
    sums = [Aggregation("sum", field.name, windows=["30d"], name=f"sum_{field.name}") for field in fields]
    return FeatureView("wide", THING, fields, description="Many numbers.", aggregations=sums if windows else ())


def parts_of(rows: int, features: int) -> pa.RecordBatchReader:
    """Return rows over half a year, in batches."""
    draw = np.random.default_rng(1)
    step = 180 * 86_400_000_000 // rows

    def batch(first: int) -> pa.RecordBatch:
        count = min(PART, rows - first)
        moments = np.datetime64("2025-12-01", "us") + ((first + np.arange(count)) * step).astype("timedelta64[us]")
        numbers = {f"f{n}": draw.random(count) for n in range(features)}
        keys = (first + np.arange(count)) % 100_000
        return pa.RecordBatch.from_pydict({"k": keys, "event_timestamp": pa.array(moments), **numbers})

    first = batch(0)
    return pa.RecordBatchReader.from_batches(first.schema, (batch(start) for start in range(0, rows, PART)))


def fill(directory: Path, rows: int, features: int, windows: bool) -> None:
    """Write all rows; runs in a process of its own, which talks to the server itself."""
    with FeatureStore(directory, offline=URL) as store:
        store.apply(view_of(features, windows))
        began = time.perf_counter()
        store.write("wide", parts_of(rows, features))
        sys.stdout.write(f"{time.perf_counter() - began:.1f}")


def ask(directory: Path, feature: str) -> None:
    """Ask for one feature of a thousand things; runs in a process of its own, as a cold one does."""
    spine = {"k": list(range(1000)), "event_timestamp": [NOW] * 1000}
    with FeatureStore(directory, offline=URL) as store:
        began = time.perf_counter()
        assert store.get_historical_features(spine, [f"wide.{feature}"]).table[feature].null_count == 0
        sys.stdout.write(f"{time.perf_counter() - began:.2f}")


def measured(meter: Relay, work: Callable[[], str | None]) -> str:
    """Return what work says, and the requests and bytes that it took."""
    requests, received, began = meter.requests, meter.received, time.perf_counter()
    said = work() or f"{time.perf_counter() - began:.3f}"
    return f"{said} s, about {meter.requests - requests} requests, {(meter.received - received) / 1e6:.2f} MB"


def in_new_process(call: str) -> str:
    """Call a function of this module in a new process; return what it says."""
    program = f"from tests.benchmarks.bench_bucket import *; {call}"
    return subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--windows", action="store_true", help="ask for a sum over thirty days of one column")
    asked, out = parser.parse_args(), Console()
    view, feature = view_of(asked.features, asked.windows), "sum_f7_30d" if asked.windows else "f7"
    with (
        tempfile.TemporaryDirectory() as name,
        running_s3() as server,
        Relay(server.environment["AWS_ENDPOINT_URL"]) as meter,
    ):
        os.environ.update(server.environment)
        directory = Path(name)
        first, second = directory / "first", directory / "second"
        written = in_new_process(f"fill(Path({str(first)!r}), {asked.rows}, {asked.features}, {asked.windows})")
        out.print(f"write all: {written} s")
        os.environ["AWS_ENDPOINT_URL"] = meter.url
        ask_again = f"ask(Path({str(second)!r}), {feature!r})"
        size = sum(found.stat().st_size for found in ObjectPath(URL).rglob("*.parquet"))
        out.print(f"history: {size / 1e6:.1f} MB")
        with FeatureStore(second, offline=URL) as store:
            store.apply(view)
        before = meter.received
        out.print("one feature, cold:", measured(meter, lambda: in_new_process(ask_again)))
        out.print(f"that is {(meter.received - before) / size:.1%} of the bytes")
        out.print("again, another process:", measured(meter, lambda: in_new_process(ask_again)))
        with FeatureStore(second, offline=URL) as store:
            row = {"k": [1], "event_timestamp": [NOW], **{f"f{n}": [0.5] for n in range(asked.features)}}
            for what, work in (("write", store.write), ("push", store.push)):
                for turn in ("the first", "the next"):
                    out.print(
                        f"{what} of a row, {turn}:", measured(meter, lambda work=work: work("wide", row) and None)
                    )
            out.print(
                "look up the newest state:",
                measured(meter, lambda: store.offline.snapshot(store.view("wide")) and None),
            )


if __name__ == "__main__":
    main()
