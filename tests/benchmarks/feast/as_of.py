"""Feast's own historical retrieval, run by the Python of an environment of its own.

Usage: as_of.py HISTORY.parquet SPINE.parquet OUT.parquet RUNS; prints the seconds of each run as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time

import pandas as pd
from declared import REFERENCES, opened  # which is beside this script


def main() -> None:
    """Retrieve, write the last answer, print the times."""
    history, spine, out, runs = sys.argv[1:]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        store = opened(folder, history)
        for _ in range(int(runs)):
            start = time.perf_counter()
            asked = pd.read_parquet(spine)
            found = store.get_historical_features(asked, REFERENCES).to_arrow()
            seconds.append(time.perf_counter() - start)
    found.to_pandas().to_parquet(out)
    sys.stdout.write(json.dumps(seconds))


if __name__ == "__main__":
    main()
