"""Feast's own feature server, run by the Python of an environment of its own; nothing is tuned, but that a
worker isn't started anew after a thousand requests.

Usage: server.py HISTORY.parquet HOST:PORT,db=N PORT; history is brought online, then one worker serves.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime

from declared import opened  # which is beside this script


def main() -> None:
    """Serve until the process is told to stop."""
    history, server, port = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        store = opened(folder, history, server)
        store.materialize(datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC))
        store.serve(host="127.0.0.1", port=int(port), no_access_log=True, workers=1, max_requests=0)


if __name__ == "__main__":
    main()
