"""The views that are read: ten numbers of each user, in our store and, of the first view, in a file for Feast."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fs_core import Entity, FeatureStore, FeatureView, Field

FEATURES = [f"f{i}" for i in range(10)]
VIEWS = [f"numbers{i}" for i in range(5)]

Numbers = np.ndarray[Any, np.dtype[np.float64]]


def values(view: str, entities: int) -> Numbers:
    """Return what a view holds: ten numbers for each user."""
    return np.random.default_rng(VIEWS.index(view)).normal(size=(entities, len(FEATURES)))


def rows(view: str, entities: int, users: Numbers | None = None) -> pa.Table:
    """Return a row for each user, of this moment; they are numbered from 0 unless they are given."""
    now = pa.array([datetime.now(UTC)] * entities, pa.timestamp("us", tz="UTC"))
    columns = dict(zip(FEATURES, values(view, entities).T.copy(), strict=True))
    return pa.table({"user": np.arange(entities) if users is None else users, "event_timestamp": now, **columns})


def fill(store: FeatureStore, entities: int, views: Sequence[str] = VIEWS[:1], *, users: Numbers | None = None) -> None:
    """Declare views, write a row for each user, bring them online."""
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    fields = [Field(name, "float64", "A number.") for name in FEATURES]
    for view in views:
        store.apply(FeatureView(view, entity=user, fields=fields, description="Numbers of a user."))
        store.write(view, rows(view, entities, users))
    store.materialize()


def write_file(path: Path, entities: int) -> None:
    """Write the first view's rows to a Parquet file."""
    pq.write_table(rows(VIEWS[0], entities), path)
