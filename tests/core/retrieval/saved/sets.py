"""Facts of four things, labelled moments of them, and what it means that two training sets are the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from fs_core import Entity, FeatureStore, TrainingSet
from fs_core.testing.oracle import bits

T0 = datetime(2024, 1, 1, tzinfo=UTC)
THING = Entity("thing", keys={"thing": "int64"}, description="A thing.")


def labels(*numbers: int, **columns: Any) -> pa.Table:
    """One labelled moment for each number, an hour apart; things are four."""
    rows = {
        "thing": [n % 4 for n in numbers],
        "event_timestamp": pa.array([T0 + timedelta(hours=n, minutes=30) for n in numbers], pa.timestamp("us", "UTC")),
        "late": pa.array([n % 3 == 0 for n in numbers], pa.bool_()),
    }
    return pa.table({**rows, **columns})


def facts(*numbers: int) -> dict[str, Any]:
    """One fact for each number, an hour apart."""
    times = [T0 + timedelta(hours=n) for n in numbers]
    return {"thing": [n % 4 for n in numbers], "event_timestamp": times, "x": list(numbers)}


def ask(store: FeatureStore, spine: Any, **settings: Any) -> TrainingSet:
    """Return the training set of a spine."""
    return store.get_historical_features(spine, "facts", label="late", **settings)


def files(store: FeatureStore, name: str = "") -> list[str]:
    """Return the names of the files that the store keeps for training sets."""
    folder = Path(store.directory) / "training_sets" / name
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def same(left: TrainingSet, right: TrainingSet) -> bool:
    """Whether two training sets are equal in every bit, type and name."""
    assert left.table.schema.equals(right.table.schema, check_metadata=True)
    assert [bits(row) for row in left.table.to_pylist()] == [bits(row) for row in right.table.to_pylist()]
    names = ("features", "keys", "timestamp", "label", "spec", "fingerprint")
    return all(getattr(left, name) == getattr(right, name) for name in names)
