"""The race: all ways side by side on the same files, results checked equal before a time is printed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq

from fs_core import FeatureStore
from tests.benchmarks.asof.bars import Measure
from tests.benchmarks.asof.peers import by_feast, by_us, libraries, refuse_difference
from tests.benchmarks.timing import Timing, race, show

WARM, COLD = "fs_core, warm", "fs_core, cold"


def race_peers(
    store: FeatureStore, files: Path, spine: Path, *, runs: int, title: str, feast: bool = True
) -> tuple[list[Timing], list[Measure]]:
    """Time every way; return the times and how ours compare."""
    index = Path(store.directory, "index")
    ways = {WARM: lambda: by_us(store, spine), COLD: lambda: by_us(store, spine), **libraries(files, spine)}
    answer = refuse_difference(ways)
    # Cold is the first question after a write: its answer includes making the index.
    before = {WARM: lambda: by_us(store, spine), COLD: lambda: shutil.rmtree(index)}
    timings = race(ways, runs=runs, before=before)
    theirs = by_feast(files, spine, answer) if feast else None
    timings += [Timing("Feast, DuckDB store", theirs)] if theirs else []
    show(title, timings, rows=pq.read_metadata(spine).num_rows, ours=WARM)
    return timings, _measures({timing.name: timing.median for timing in timings})


def _measures(seconds: dict[str, float]) -> list[Measure]:
    found = [
        Measure("warm, against Polars join_asof", seconds[WARM] / seconds["Polars join_asof"], 0.40, 0.25),
        Measure("warm, against DuckDB ASOF", seconds[WARM] / seconds["DuckDB ASOF"], 0.35, 0.20),
        Measure("cold, against Polars join_asof", seconds[COLD] / seconds["Polars join_asof"], 2.5, 1.0),
    ]
    if "Feast, DuckDB store" in seconds:
        found.append(Measure("warm, against Feast", seconds[WARM] / seconds["Feast, DuckDB store"], 1 / 40, 1 / 100))
    return found
