"""Ray answers a question in parts, each in one of its processes: `python -m examples.ray_parts` (`pip install ray`).

A part is pickled, and `answer` is an Arrow table, which Ray's processes hand over in shared memory. On a cluster
(`ray.init("auto")`) the store's directory is one that all its machines have, or a bucket.
"""

import argparse
import tempfile
from datetime import timedelta

import numpy as np
import ray

from examples.dask_parts import SPENDING, START, moments
from fs_core import FeatureStore
from fs_core.retrieval.parts import SpinePart


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="of history, and of the spine")
    parser.add_argument("--parts", type=int, default=8)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    with (
        tempfile.TemporaryDirectory() as directory,
        FeatureStore(directory) as store,
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR"),
    ):
        # 1. History, and a spine that asks about it.
        store.apply(SPENDING)
        store.write(SPENDING, moments(random, options.rows).append_column("amount", [random.random(options.rows)]))
        spine = moments(random, options.rows)
        # 2. One question in parts. Each knows its rows, and which state of history to read.
        parts = store.split(spine, SPENDING, parts=options.parts)
        # 3. Someone writes meanwhile; Ray's processes answer from the state that was split.
        store.write(SPENDING, {"user_id": [0], "event_timestamp": [START - timedelta(days=1)], "amount": [-1.0]})
        answer = ray.remote(SpinePart.answer)
        training = parts.joined(ray.get([answer.remote(part) for part in parts]))
        print(f"{len(training):,} rows in {len(parts)} parts")
        # 4. The proof: one process gives the same bits.
        same = store.recreate(training.spec, spine).fingerprint == training.fingerprint
        print(f"the same fingerprint as from one process: {same}")
        return int(not same)


if __name__ == "__main__":
    raise SystemExit(main())
