"""More history than memory: written in parts, asked for as a stream.

Run `python -m tests.benchmarks.asof.huge`: 100 M feature rows and a spine of 5 M take about 20 GB of disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from fs_core import FeatureStore
from tests.benchmarks.asof.bars import Measure, show_measures
from tests.benchmarks.asof.memory import peak_above
from tests.benchmarks.asof.workloads import declare, history, spine_of

_PART = 10_000_000


def main() -> None:
    """Write, stream cold and warm, print memory and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--spine", type=int, default=5_000_000)
    parser.add_argument("--entities", type=int, default=1_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = max(1, args.rows // _PART)
        rng = np.random.default_rng(3)
        with FeatureStore(Path(folder, "store")) as store:
            declare(store, "numbers")
            for part in range(parts):
                store.write("numbers", history(args.rows // parts, args.entities, rng, part=(part, parts)))
        measures = []
        for state in ("cold", "warm"):
            start = time.perf_counter()
            peak, rows = peak_above(_opened, _streamed, str(Path(folder, "store")), args.spine, args.entities)
            if rows != args.spine:
                raise SystemExit(f"{rows:,} rows came of {args.spine:,}")
            seconds = time.perf_counter() - start
            measures.append(
                Measure(f"{state}: peak anonymous memory ({seconds:.0f} s)", peak / 2**20, 4096, None, "MiB")
            )
        show_measures(f"{args.rows:,} feature rows, spine of {args.spine:,}, streamed", measures)


def _opened(directory: str, spine: int, entities: int) -> tuple[FeatureStore, int, int]:
    return FeatureStore(directory), spine, entities


def _streamed(ready: tuple[FeatureStore, int, int]) -> int:
    store, spine, entities = ready
    asked = spine_of(spine, entities, np.random.default_rng(5))
    return sum(batch.num_rows for batch in store.stream_historical_features(asked, "numbers"))


if __name__ == "__main__":
    main()
