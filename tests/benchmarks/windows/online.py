"""Windows served: reads beside one raw MGET of the same bytes, a hot entity, pushes to it, and what entities take.

`python -m tests.benchmarks.windows.online`. Ratios are of medians of one run; look at these on a busy machine.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import redis
from rich.console import Console
from rich.table import Table

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.materialization.event_values import deep_name
from fs_core.online.row.codec import RowCodec
from tests.benchmarks.asof.bars import Measure, show_measures
from tests.benchmarks.timing import Timing, race, show
from tests.servers import available_servers, running_server

HOURS = (1, 3, 6, 12, 24, 48, 96, 168, 336, 720)
HOT, COLD = 1_000_000, 1_000_001
_SIZES = {50: range(100), 500: range(100, 110), 5_000: range(110, 112), 10_000: (HOT,)}
_DAYS = 29
_MILLI = 1e3


def declare() -> FeatureView:
    """Return ten windows of three functions."""
    user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
    windows = [f"{hours}h" for hours in HOURS]
    wanted = [("count", None), ("sum", "amount"), ("max", "amount")]
    aggregations = [Aggregation(function, column, windows=windows) for function, column in wanted]
    fields = [Field("amount", "float64", "Paid, EUR.")]
    return FeatureView("paid", user, fields, aggregations=aggregations, description="What was paid.")


def events(now: datetime) -> pa.Table:
    """Return events of the last weeks: of each user as many as `_SIZES` says."""
    rng = np.random.default_rng(7)
    users = np.concatenate([np.repeat(list(ids), count) for count, ids in _SIZES.items()])
    ago = rng.integers(60, _DAYS * 86_400, len(users))
    times = pa.array([now - timedelta(seconds=int(seconds)) for seconds in ago], pa.timestamp("us", "UTC"))
    return pa.table({"user_id": users, "event_timestamp": times, "amount": rng.uniform(0, 100, len(users)).round(2)})


def keys_of(users: Any) -> list[bytes]:
    """Return the bytes of users' keys."""
    keys = RowCodec(declare()).keys(pa.table({"user_id": pa.array(list(users), pa.int64())}))
    return [key or b"" for key in keys]


def filled(view: FeatureView, directory: str, online: str) -> FeatureStore:
    """Return a store with the events, materialized."""
    store = FeatureStore(directory, online=online)
    store.apply(view)
    store.write(view, events(datetime.now(UTC)))
    store.materialize()
    return store


def pushes(store: FeatureStore, view: FeatureView, runs: int) -> list[Timing]:
    """Time pushes of one event to a hot user and to a cold one."""

    def push(user_id: int) -> int:
        row = {"user_id": [user_id], "event_timestamp": [datetime.now(UTC)], "amount": [1.0]}
        return store.push(view, row)

    return race({"hot": lambda: push(HOT), "cold": lambda: push(COLD)}, runs=runs)


def main() -> None:
    """Fill a server, race, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=101)
    parser.add_argument("--server", default=available_servers()[0], choices=available_servers())
    args = parser.parse_args()
    view = declare()
    with (
        tempfile.TemporaryDirectory() as directory,
        running_server(args.server) as url,
        filled(view, f"{directory}/served", url) as store,
        filled(view, f"{directory}/embedded", "sqlite") as embedded,
        redis.Redis.from_url(url) as client,
    ):
        stored: Any = store.online  # whose names the raw client asks for
        names = {count: stored._names.rows(keys_of(ids), view.storage_name) for count, ids in _SIZES.items()}
        deep = {count: stored._names.rows(keys_of(ids), deep_name(view)) for count, ids in _SIZES.items()}

        def read(*users: int) -> pa.Table:
            return store.get_online_features("paid", {"user_id": list(users)}).table

        ways = {
            "100 users": lambda: read(*_SIZES[50]),
            "100 users, raw MGET": lambda: client.mget(names[50]),
            "hot user": lambda: read(HOT),
            "hot user, raw GET": lambda: client.get(names[10_000][0]),
        }
        timings = race(ways, runs=args.runs)
        show(f"Windows online, {args.server}: 10 windows of 3 functions", timings, rows=1, ours="100 users")
        sizes = {count: (_mean(client, names[count]), _mean(client, deep[count])) for count in _SIZES}
        few = max(5, args.runs // 4)
        pushed = {"SQLite": pushes(embedded, view, few), args.server: pushes(store, view, few)}
    seconds = {timing.name: timing.median for timing in timings}
    measures = [
        Measure(
            "100 users of 50 events, against raw MGET", seconds["100 users"] / seconds["100 users, raw MGET"], 4, 2
        ),
        Measure("a user of 10,000 events", seconds["hot user"] * _MILLI, 2, 1, unit="ms"),
        Measure("what that reads", sizes[10_000][0] / _MILLI, 16, 6, unit="kB"),
    ]
    measures += [
        Measure(f"a push to it, against one to a cold user, {where}", hot.median / cold.median, 1.3, 1.1)
        for where, (hot, cold) in pushed.items()
    ]
    show_measures("Windows online", measures)
    table = Table("events of 29 days", "read, bytes", "in all, bytes", "in all, an event", title="An entity's bytes")
    for count, (near, all_else) in sizes.items():
        whole = near + all_else
        table.add_row(f"{count:,}", f"{near:,.0f}", f"{whole:,.0f}", f"{whole / count:.1f}")
    Console().print(table)


def _mean(client: Any, names: list[bytes]) -> float:
    """Return the mean length of some values; of one that isn't there, nothing."""
    return sum(len(value or b"") for value in client.mget(names)) / len(names)


if __name__ == "__main__":
    main()
