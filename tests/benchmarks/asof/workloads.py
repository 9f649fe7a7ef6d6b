"""The data of the as-of benchmarks: histories in order of time, and spines, with keys of several kinds."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa

from fs_core import Entity, FeatureStore, FeatureView, Field

YEAR = 365 * 86400 * 10**6
START = 1_704_067_200_000_000
FEATURES = [f"f{i}" for i in range(10)]
STAMP = pa.timestamp("us", tz="UTC")

Keys = Literal["int64", "string", "composite"]

_SHOPS = 8  # of a composite key (user, shop): as many pairs as there are entities


def key_columns(kind: Keys, codes: np.ndarray) -> dict[str, pa.Array]:
    """Return the key columns for entities numbered from 0, one row each.

    The number is spelled as a whole number, as a text of 13 bytes, or as a pair of whole numbers.
    """
    if kind == "int64":
        return {"user": pa.array(codes)}
    if kind == "string":
        names = pa.array([f"user-{i:08d}" for i in range(int(codes.max(initial=0)) + 1)])
        return {"user": names.take(pa.array(codes))}
    return {"user": pa.array(codes // _SHOPS), "shop": pa.array(codes % _SHOPS)}


def history(
    rows: int, entities: int, rng: np.random.Generator, *, keys: Keys = "int64", part: tuple[int, int] = (0, 1)
) -> pa.Table:
    """Return feature rows in order of time, as events arrive; times are distinct, so no peer's tie is at stake.

    Args:
        rows: how many.
        entities: of how many users.
        rng: draws them.
        keys: how users are known.
        part: which of how many equal parts of the year they fill.
    """
    span = YEAR // part[1]
    step = span // rows  # one moment within each step: distinct and sorted without sorting
    times = np.arange(rows) * step + rng.integers(0, step, rows) + START + part[0] * span
    columns = key_columns(keys, rng.integers(0, entities, rows)) | {"event_timestamp": pa.array(times).cast(STAMP)}
    return pa.table(columns | {name: pa.array(rng.normal(size=rows)) for name in FEATURES})


def spine_of(rows: int, entities: int, rng: np.random.Generator, *, keys: Keys = "int64") -> pa.Table:
    """Return labels: which user, when, in no order."""
    times = rng.integers(START, START + YEAR, rows)
    codes = rng.integers(0, entities, rows)
    return pa.table(key_columns(keys, codes) | {"event_timestamp": pa.array(times).cast(STAMP)})


def declare(store: FeatureStore, name: str, *, keys: Keys = "int64") -> None:
    """Register a view of ten float64."""
    columns = {"user": "string" if keys == "string" else "int64"} | ({"shop": "int64"} if keys == "composite" else {})
    entity = Entity(f"{keys}_user", keys=columns, description="A user.")
    fields = [Field(feature, "float64", "A number.") for feature in FEATURES]
    store.apply(entity, FeatureView(name, entity=entity, fields=fields, description="Numbers of a user."))
