"""Feast's own online store, run by the Python of an environment of its own, one command a line.

Usage: serving.py HISTORY.parquet HOST:PORT,db=N; reads requests as lines of JSON, answers each by one.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from declared import FEATURES, REFERENCES, opened  # which is beside this script
from feast import FeatureStore


def materialize(store: FeatureStore) -> dict[str, Any]:
    """Bring all of history online; return the seconds, and the most megabytes that this process ever had."""
    start = time.perf_counter()
    store.materialize(datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC))
    seconds = time.perf_counter() - start
    (line,) = (text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM"))
    return {"seconds": seconds, "peak": int(line.split()[1]) / 1024}


def read(store: FeatureStore, users: list[int], runs: int) -> dict[str, list[float]]:
    """Read some users again and again, after a round that isn't counted; return the seconds of each way's runs."""
    rows = [{"user": user} for user in users]
    seconds: dict[str, list[float]] = {"to_dict": [], "to_arrow": []}
    for turn in range(runs + 1):
        for way, found in seconds.items():
            start = time.perf_counter()
            getattr(store.get_online_features(features=REFERENCES, entity_rows=rows), way)()
            if turn:
                found.append(time.perf_counter() - start)
    return seconds


def values(store: FeatureStore, users: list[int], out: str) -> dict[str, str]:
    """Write what it gives for some users to a file of NumPy's, float64 [users, features]."""
    rows = [{"user": user} for user in users]
    given = store.get_online_features(features=REFERENCES, entity_rows=rows).to_dict()
    np.save(out, np.array([given[name] for name in FEATURES], np.float64).T)
    return {"out": out}


def main() -> None:
    """Answer requests until there are none; what Feast prints goes to where errors go."""
    history, server = sys.argv[1:]
    does = {"materialize": materialize, "read": read, "values": values}
    answers = sys.stdout
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        store = opened(folder, history, server)
        for line in sys.stdin:
            request = json.loads(line)
            answer = does[request.pop("do")](store, **request)
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
