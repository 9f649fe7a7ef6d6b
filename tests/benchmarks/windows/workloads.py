"""The data of the benchmarks of windows: payments of users over a year, in order of time, some of them late."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field

YEAR = 365 * 86400 * 10**6
START = 1_704_067_200_000_000
STAMP = pa.timestamp("us", tz="UTC")
WINDOWS = ["1h", "1d", "7d", "30d"]
FUNCTIONS = ["count", "sum", "mean", "max"]

_HOUR = 3600 * 10**6


def events(rows: int, entities: int, rng: np.random.Generator, *, late: float = 0.0) -> pa.Table:
    """Return payments in order of time, at distinct moments.

    Args:
        rows: how many.
        entities: of how many users.
        rng: draws them.
        late: the share that becomes known some hours later.
    """
    step = YEAR // rows
    times = np.arange(rows) * step + rng.integers(0, step, rows) + START
    delays = np.where(rng.random(rows) < late, rng.integers(_HOUR, 12 * _HOUR, rows), 0)
    amounts = np.round(rng.gamma(2.0, 20.0, rows), 2)
    columns: dict[str, Any] = {"user": rng.integers(0, entities, rows), "event_timestamp": pa.array(times).cast(STAMP)}
    return pa.table(columns | {"known_at": pa.array(times + delays).cast(STAMP), "amount": amounts})


def moments(rows: int, entities: int, rng: np.random.Generator) -> pa.Table:
    """Return whom to ask about, and when, in no order."""
    times = rng.integers(START, START + YEAR, rows)
    return pa.table({"user": rng.integers(0, entities, rows), "event_timestamp": pa.array(times).cast(STAMP)})


def declare(store: FeatureStore, name: str = "payments") -> FeatureView:
    """Register the view: four windows of count, sum, mean and max."""
    view = FeatureView(
        name,
        Entity("user", keys={"user": "int64"}, description="A user."),
        [Field("amount", "float64", "Paid, EUR.")],
        available_at="known_at",
        description="What users pay.",
        aggregations=[Aggregation(function, "amount", windows=WINDOWS) for function in FUNCTIONS],
    )
    store.apply(view)
    return view
