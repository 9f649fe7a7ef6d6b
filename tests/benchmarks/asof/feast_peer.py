"""Feast's own historical retrieval, run by the Python of an environment of its own.

Usage: feast_peer.py HISTORY.parquet SPINE.parquet OUT.parquet RUNS; prints the seconds of each run as JSON.
Its DuckDB store, a file source, and the feature view that the others' data make; nothing is tuned against it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64

FEATURES = [f"f{i}" for i in range(10)]


def opened(folder: str, history: str) -> FeatureStore:
    """Declare the same view in a fresh Feast store."""
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(Path(folder, "registry.db")),
            offline_store={"type": "duckdb"},
            online_store=None,
            entity_key_serialization_version=3,
        )
    )
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    source = FileSource(name="history", path=history, timestamp_field="event_timestamp")
    fields = [Field(name=name, dtype=Float64) for name in FEATURES]
    store.apply([user, FeatureView(name="numbers", entities=[user], schema=fields, source=source, ttl=None)])
    return store


def main() -> None:
    """Retrieve, write the last answer, print the times."""
    history, spine, out, runs = sys.argv[1:]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        store = opened(folder, history)
        for _ in range(int(runs)):
            start = time.perf_counter()
            asked = pd.read_parquet(spine)
            found = store.get_historical_features(asked, [f"numbers:{name}" for name in FEATURES]).to_arrow()
            seconds.append(time.perf_counter() - start)
    found.to_pandas().to_parquet(out)
    sys.stdout.write(json.dumps(seconds))


if __name__ == "__main__":
    main()
