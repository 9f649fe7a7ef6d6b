"""Dask answers a question in parts, each in one of its processes: `python -m examples.dask_parts`.

The same few lines serve a cluster (`dask.distributed`) and every other engine that can call a function: a part is
pickled, `answer` gives an Arrow table, `joined` puts the tables in order.
"""

import argparse
import tempfile
from datetime import UTC, datetime, timedelta

import dask
import numpy as np
import pyarrow as pa

from fs_core import Entity, FeatureStore, FeatureView, Field

START = datetime(2025, 1, 1, tzinfo=UTC)
SPENDING = FeatureView(
    "spending",
    entity=Entity("user", keys={"user_id": "int64"}, description="Who buys."),
    fields=[Field("amount", "float64", "Paid last, EUR.")],
    ttl="7d",
    description="The last payment.",
)


def moments(random: np.random.Generator, rows: int) -> pa.Table:
    """Return users, each with a moment of the thirty days after the start."""
    seconds = random.integers(0, 30 * 24 * 3600, rows)
    times = np.datetime64(START.replace(tzinfo=None), "us") + seconds.astype("m8[s]")
    return pa.table({"user_id": random.integers(0, rows // 10 + 1, rows), "event_timestamp": times})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="of history, and of the spine")
    parser.add_argument("--parts", type=int, default=8)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as directory, FeatureStore(directory) as store:
        # 1. History, and a spine that asks about it.
        store.apply(SPENDING)
        store.write(SPENDING, moments(random, options.rows).append_column("amount", [random.random(options.rows)]))
        spine = moments(random, options.rows)
        # 2. One question in parts. Each knows its rows, and which state of history to read.
        parts = store.split(spine, SPENDING, parts=options.parts)
        # 3. Someone writes meanwhile; Dask's processes answer from the state that was split.
        store.write(SPENDING, {"user_id": [0], "event_timestamp": [START - timedelta(days=1)], "amount": [-1.0]})
        answers = dask.compute(*[dask.delayed(part.answer)() for part in parts], scheduler="processes")
        training = parts.joined(answers)
        print(f"{len(training):,} rows in {len(parts)} parts")
        # 4. The proof: one process gives the same bits.
        same = store.recreate(training.spec, spine).fingerprint == training.fingerprint
        print(f"the same fingerprint as from one process: {same}")
        return int(not same)


if __name__ == "__main__":
    raise SystemExit(main())
