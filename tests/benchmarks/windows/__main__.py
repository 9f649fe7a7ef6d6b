"""Windows at given moments beside DuckDB's RANGE windows and Polars: the same events, from Parquet to Arrow in hand.

And looked up batch by batch, shuffled, as a DataLoader does it.

At the size of the bars: `python -m tests.benchmarks.windows --rows 10000000 --moments 1000000 --entities 100000`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from torch.utils.data import DataLoader

from fs_core import FeatureStore
from fs_torch import FeatureDataset
from tests.benchmarks.asof.bars import Measure, show_measures
from tests.benchmarks.asof.memory import peak_above
from tests.benchmarks.timing import race, show
from tests.benchmarks.windows.peers import asked, by_duckdb, by_polars, by_us, opened, refuse_difference
from tests.benchmarks.windows.workloads import declare, events, moments

WARM, COLD, DUCKDB, LATE = "fs_core, warm", "fs_core, cold", "DuckDB RANGE", "fs_core, 20 % late"
POLARS = "Polars rolling"
_BATCH, _BATCHES = 1024, 200
_GIB = 1 << 30


def looked_up(store: FeatureStore, spine: Path) -> float:
    """Return how many rows a second batches of a spine are, each looked up when it is asked for."""
    rows = pq.read_table(spine).slice(0, _BATCH * _BATCHES)
    loader = DataLoader(
        FeatureDataset.from_spine(store, rows, "payments", label=False), batch_size=_BATCH, shuffle=True
    )
    start = time.perf_counter()
    for _ in loader:
        pass
    return len(rows) / (time.perf_counter() - start)


def main() -> None:
    """Build the data, check that both agree, race, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--moments", type=int, default=100_000)
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    rng = np.random.default_rng(7)
    size = f"{args.rows:,} events of {args.entities:,} users, {args.moments:,} moments, 4 windows of 4 functions"
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        files, spine = folder / "events.parquet", folder / "moments.parquet"
        pq.write_table(events(args.rows, args.entities, rng), files)
        pq.write_table(moments(args.moments, args.entities, rng), spine)
        with FeatureStore(folder / "store") as store, FeatureStore(folder / "late") as late:
            for each, share in ((store, 0.0), (late, 0.2)):
                each.write(declare(each), events(args.rows, args.entities, np.random.default_rng(7), late=share))
            index = Path(store.directory, "index")
            ways = {
                WARM: lambda: by_us(store, spine),
                COLD: lambda: by_us(store, spine),
                LATE: lambda: by_us(late, spine),
                DUCKDB: lambda: by_duckdb(files, spine),
                POLARS: lambda: by_polars(files, spine),
            }
            for peer in (DUCKDB, POLARS):
                refuse_difference(ways[WARM](), ways[peer]())
            before = {WARM: lambda: by_us(store, spine), COLD: lambda: shutil.rmtree(index, ignore_errors=True)}
            timings = race(ways, runs=args.runs, before=before)
            rate = looked_up(store, spine)
        show(f"Windows: {size}", timings, rows=args.moments, ours=WARM)
        peak, result = peak_above(opened, asked, folder / "store", spine)
    seconds = {timing.name: timing.median for timing in timings}
    measures = [
        Measure("warm, against DuckDB RANGE windows", seconds[WARM] / seconds[DUCKDB], 0.15, 0.05),
        Measure("cold, against DuckDB RANGE windows", seconds[COLD] / seconds[DUCKDB], 0.5, 0.25),
        Measure("20 % late, against none late", seconds[LATE] / seconds[WARM], 1.5, 1.2),
        Measure("from_spine, batches of 1,024, rows/s", rate, 100_000, 250_000, "", least=True),
        Measure("cold, memory above the result, GiB", (peak - result) / _GIB, 1.5, 0.8),
    ]
    show_measures(f"Windows, {size}", measures)


if __name__ == "__main__":
    main()
