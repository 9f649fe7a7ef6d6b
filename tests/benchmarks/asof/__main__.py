"""As-of retrieval beside DuckDB, Polars, pandas and Feast: the same rows, from Parquet to Arrow in hand.

Run `make bench`, or at the size of the bars:
`python -m tests.benchmarks.asof --rows 10000000 --spine 1000000 --entities 100000`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from fs_core import FeatureStore
from tests.benchmarks.asof.bars import show_measures
from tests.benchmarks.asof.growth import draw, measure, sizes_up_to
from tests.benchmarks.asof.questions import Questions
from tests.benchmarks.asof.race import race_peers
from tests.benchmarks.asof.workloads import declare, history, spine_of
from tests.benchmarks.feast.process import FEAST


def main() -> None:
    """Build the data, check that all agree, race, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--spine", type=int, default=100_000)
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--picture", type=Path, default=Path("build/asof.png"))
    parser.add_argument("--no-picture", action="store_true", help="leave out the races that the picture needs")
    args = parser.parse_args()
    size = f"{args.rows:,} feature rows of {args.entities:,} users, 10 float64, spine of {args.spine:,}"
    rng = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        files, spine = folder / "history.parquet", folder / "spine.parquet"
        table = history(args.rows, args.entities, rng)
        pq.write_table(table, files)
        pq.write_table(spine_of(args.spine, args.entities, rng), spine)
        with FeatureStore(folder / "store") as store:
            declare(store, "numbers")
            store.write("numbers", table)
            del table
            _, measures = race_peers(store, files, spine, runs=args.runs, title=f"As-of: {size}")
            asked = Questions(store, folder, rows=args.rows, spine=args.spine, entities=args.entities, runs=args.runs)
            measures += asked.measures()
    if not FEAST.exists():
        print("Feast isn't installed: make .venv-feast/.installed")
    show_measures(f"As-of, {size}", measures)
    if not args.no_picture:
        histories, spines = sizes_up_to(args.rows), sizes_up_to(args.spine)
        curves = measure(histories, spines, entities=args.entities, runs=min(args.runs, 3))
        draw(histories, spines, curves, args.picture)
        print(f"Picture: {args.picture}")


if __name__ == "__main__":
    main()
