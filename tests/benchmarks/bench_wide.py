"""Views of thousands of columns: the first retrieval of twenty rows, which opens every column, and the one after it.

python -m tests.benchmarks.bench_wide --columns 2000 10000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from rich.console import Console

from fs_core import Entity, FeatureStore, FeatureView, Field

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")


class Taken(NamedTuple):
    """Seconds: by the clock, and of all cores."""

    wall: float
    cpu: float


def fill(directory: Path, columns: int, rows: int = 50) -> None:
    """Make a store with a view of so many float64 columns."""
    fields = [Field(f"x{n}", "float64", "A number.") for n in range(columns)]
    rng = np.random.default_rng(1)
    numbers = {field.name: rng.random(rows) for field in fields}
    times = pa.array([datetime(2025, 1, 1, tzinfo=UTC)] * rows)
    with FeatureStore(directory) as store:
        store.apply(FeatureView("wide", USER, fields, description="Many numbers."))
        store.write("wide", pa.table({"user_id": np.arange(rows), "event_timestamp": times, **numbers}))


def retrievals(directory: Path, columns: int) -> list[Taken]:
    """Return what the first and the second retrieval of twenty rows take, in a store that was just opened."""
    spine = {"user_id": range(20), "event_timestamp": [datetime(2025, 2, 1, tzinfo=UTC)] * 20}
    taken = []
    with FeatureStore(directory) as store:
        for _ in range(2):
            wall, cpu = time.perf_counter(), time.process_time()
            found = store.get_historical_features(spine, "wide")
            taken.append(Taken(time.perf_counter() - wall, time.process_time() - cpu))
            assert len(found.features) == columns
    return taken


def main() -> None:
    """Print both for some numbers of columns."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--columns", type=int, nargs="+", default=[2_000, 10_000])
    for columns in parser.parse_args().columns:
        with tempfile.TemporaryDirectory() as directory:
            fill(Path(directory), columns)
            first, second = retrievals(Path(directory), columns)
        told = f"first {first.wall:.2f} s ({first.cpu:.2f} s of CPU), then {second.wall:.2f} s ({second.cpu:.2f} s)"
        Console().print(f"{columns:,} columns: {told}", highlight=False)


if __name__ == "__main__":
    main()
