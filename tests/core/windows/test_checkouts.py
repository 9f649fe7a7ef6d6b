"""A published example, as large as it is told: what users bought and returned before each of ten thousand checkouts."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.materialization.events import codec_of
from fs_core.online.row.codec import RowCodec

_USERS, _CHECKOUTS = 500, 10_000
_BEGAN, _DAYS = datetime(2024, 3, 1, tzinfo=UTC), 60
_WINDOWS = {"3d": 3, "14d": 14, "30d": 30}
_DAY = 86_400_000_000


def view_of(name: str, column: str) -> FeatureView:
    """Return counts, sums and averages of a table."""
    windows = list(_WINDOWS)
    return FeatureView(
        name,
        Entity("user", keys={"user_id": "int64"}, description="A customer."),
        [Field(column, "float64", "EUR.")],
        description="From the example.",
        online_history=f"{_DAYS + 1}d",
        aggregations=[
            Aggregation("count", windows=windows, name=f"{name}_count"),
            Aggregation("sum", column, windows=windows),
            Aggregation("mean", column, windows=windows),
        ],
    )


def table(rng: np.random.Generator, size: int, column: str | None) -> pa.Table:
    """Return rows of any users at any whole seconds, so that some of them meet at a window's edge."""
    seconds = rng.integers(0, _DAYS * 86_400 // 600, size) * 600
    times = pa.array([_BEGAN + timedelta(seconds=int(each)) for each in seconds], pa.timestamp("us", "UTC"))
    columns = {"user_id": rng.integers(0, _USERS, size), "event_timestamp": times}
    return pa.table(columns if column is None else columns | {column: rng.lognormal(3, 1, size)})


def by_brute_force(name: str, column: str, events: pa.Table, checkouts: pa.Table) -> list[dict[str, Any]]:
    """Return what a view says at each checkout, every event of the user looked at."""
    of_user = defaultdict(list)
    times = events["event_timestamp"].cast(pa.int64()).to_pylist()
    for user, time, value in zip(events["user_id"].to_pylist(), times, events[column].to_pylist(), strict=True):
        of_user[user].append((time, value))
    found = []
    moments = checkouts["event_timestamp"].cast(pa.int64()).to_pylist()
    for user, t in zip(checkouts["user_id"].to_pylist(), moments, strict=True):
        row: dict[str, Any] = {}
        for window, days in _WINDOWS.items():
            seen = [value for time, value in of_user[user] if t - days * _DAY < time <= t]
            total = math.fsum(seen) if seen else None
            row |= {f"{name}_count_{window}": len(seen), f"{column}_sum_{window}": total}
            row[f"{column}_mean_{window}"] = None if total is None else total / len(seen)
        found.append(row)
    return found


def test_no_checkout_is_wrong(store: FeatureStore) -> None:
    """Of ten thousand checkouts none differs in a bit: from history, nor folded from what the online store holds."""
    rng = np.random.default_rng(7)
    checkouts = table(rng, _CHECKOUTS, None)
    tables = {"purchases": ("price", 20_000), "returns": ("refund", 4_000)}
    for name, (column, size) in tables.items():
        view, events = view_of(name, column), table(rng, size, column)
        expected = by_brute_force(name, column, events, checkouts)
        store.apply(view)
        store.write(view, events)
        made = store.get_historical_features(checkouts, name).table
        store.materialize(view, until=_BEGAN + timedelta(days=_DAYS))
        keys = [key or b"" for key in RowCodec(view).keys(checkouts)]
        held = codec_of(view).decode(keys, store.online.read([(view.storage_name, keys)])[0])
        folded = codec_of(view).fold(
            held, list(view.features), checkouts["event_timestamp"].cast(pa.int64()).to_numpy()
        )
        columns = list(expected[0])
        for found in (made, folded.features):
            wrong = sum(a != b for a, b in zip(found.select(columns).to_pylist(), expected, strict=True))
            assert wrong == 0
