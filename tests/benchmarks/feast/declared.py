"""The view that the peers' data make, in Feast's words; for the Python of an environment that has it."""

from __future__ import annotations

from pathlib import Path

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_source import PushSource
from feast.types import Float64

FEATURES = [f"f{i}" for i in range(10)]
PUSHED = "pushed"
"""The source by which rows are pushed."""
REFERENCES = [f"numbers:{name}" for name in FEATURES]


def opened(folder: str, history: str, server: str | None = None) -> FeatureStore:
    """Declare the view in a fresh Feast store: its DuckDB, and its Redis where there is a server; nothing is tuned."""
    online = {"type": "redis", "connection_string": server} if server else None
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(Path(folder, "registry.db")),
            offline_store={"type": "duckdb"},
            online_store=online,
            entity_key_serialization_version=3,
        )
    )
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    source = FileSource(name="history", path=history, timestamp_field="event_timestamp")
    pushed = PushSource(name=PUSHED, batch_source=source)
    fields = [Field(name=name, dtype=Float64) for name in FEATURES]
    store.apply([user, FeatureView(name="numbers", entities=[user], schema=fields, source=pushed, ttl=None)])
    return store
