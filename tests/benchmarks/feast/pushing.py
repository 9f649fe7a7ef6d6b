"""Feast's own push, run by the Python of an environment of its own.

Usage: pushing.py HISTORY.parquet HOST:PORT,db=N SECONDS; prints, as JSON, the milliseconds that each push of a row
took, with its offline store off and on.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from datetime import UTC, datetime

import pandas as pd
from declared import FEATURES, PUSHED, opened  # which is beside this script
from feast.data_source import PushMode


def main() -> None:
    """Push for some seconds each way; what Feast prints goes to where errors go."""
    history, server, seconds = sys.argv[1:]
    took: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        store = opened(folder, history, server)
        numbers = {name: [float(place)] for place, name in enumerate(FEATURES)}
        for name, mode in (("off", PushMode.ONLINE), ("on", PushMode.ONLINE_AND_OFFLINE)):
            took[name], ends = [], time.perf_counter() + float(seconds)
            while (start := time.perf_counter()) < ends:
                row = {"user": [len(took[name])], "event_timestamp": [datetime.now(UTC)], **numbers}
                store.push(PUSHED, pd.DataFrame(row), to=mode)
                took[name].append((time.perf_counter() - start) * 1e3)
    print(json.dumps(took))


if __name__ == "__main__":
    main()
