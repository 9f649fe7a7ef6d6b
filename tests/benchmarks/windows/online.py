"""Windows served: reads beside one raw MGET of the same bytes, a hot entity, pushes to it, and what entities take.

`python -m tests.benchmarks.windows.online`. Ratios are of medians of one run, and for pushes medians of the ratios of
pairs; look at these on a busy machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from tests.benchmarks.timing import race, show
from tests.servers import available_servers, running_server

HOURS = (1, 3, 6, 12, 24, 48, 96, 168, 336, 720)
HOT, COLD = 1_000_000, range(100)
_SIZES = {50: COLD, 500: range(100, 110), 5_000: range(110, 112), 10_000: (HOT,)}
IDENTIFIED = "paid_once"
_DAYS = 29
_MILLI = 1e3


def declare(name: str = "paid", event_id: Sequence[str] = ()) -> FeatureView:
    """Return a view of ten windows of three functions.

    Args:
        name: of the view.
        event_id: `order_id`, or nothing.
    """
    user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
    windows = [f"{hours}h" for hours in HOURS]
    wanted = [("count", None), ("sum", "amount"), ("max", "amount")]
    aggregations = [Aggregation(function, column, windows=windows) for function, column in wanted]
    fields = [Field("amount", "float64", "Paid, EUR."), Field("order_id", "string", "The order.")]
    return FeatureView(
        name, user, fields, aggregations=aggregations, event_id=event_id, description="What was paid."
    )  # fmt: skip


def events(now: datetime, sizes: Mapping[int, Sequence[int]]) -> pa.Table:
    """Return events of the last weeks.

    Args:
        now: the present moment.
        sizes: users, by how many events each has.
    """
    rng = np.random.default_rng(7)
    users = np.concatenate([np.repeat(list(ids), count) for count, ids in sizes.items()])
    ago = rng.integers(60, _DAYS * 86_400, len(users))
    times = pa.array([now - timedelta(seconds=int(seconds)) for seconds in ago], pa.timestamp("us", "UTC"))
    orders = [str(uuid.UUID(bytes=rng.bytes(16))) for _ in users]
    amounts = rng.uniform(0, 100, len(users)).round(2)
    return pa.table({"user_id": users, "event_timestamp": times, "amount": amounts, "order_id": orders})


def keys_of(users: Any) -> list[bytes]:
    """Return the bytes of users' keys."""
    keys = RowCodec(declare()).keys(pa.table({"user_id": pa.array(list(users), pa.int64())}))
    return [key or b"" for key in keys]


def filled(view: FeatureView, directory: str, online: str) -> FeatureStore:
    """Return a store with the events, materialized."""
    store = FeatureStore(directory, online=online)
    store.apply(view)
    store.write(view, events(datetime.now(UTC), _SIZES))
    identified = declare(IDENTIFIED, ["order_id"])
    store.apply(identified)
    store.write(identified, events(datetime.now(UTC), {10_000: [HOT]}))
    store.materialize()
    return store


@dataclass(frozen=True)
class PushRatios:
    """What a push of one event to a hot user takes, as a multiple of what one to a cold user takes.

    Attributes:
        wall: by the clock, median of pairs.
        cpu: by this process's CPU, median of pairs.
        mean: by this process's CPU, all pushes together, and so the few that rewrite a value.
    """

    wall: float
    cpu: float
    mean: float


def pushes(store: FeatureStore, view: FeatureView, pairs: int) -> PushRatios:
    """Push one event to the hot user and one to a cold one, in turns first, so that a busy machine slows both alike."""

    def push(user_id: int) -> tuple[float, float]:
        row = {"user_id": [user_id], "event_timestamp": [datetime.now(UTC)], "amount": [1.0], "order_id": ["one"]}
        start = time.perf_counter(), time.process_time()
        store.push(view, row)
        return time.perf_counter() - start[0], time.process_time() - start[1]

    hot, cold = np.zeros((pairs, 2)), np.zeros((pairs, 2))
    push(HOT), push(COLD[0])
    for pair in range(pairs):
        # Another cold user each time: one to whom all pushes go becomes hot.
        turn = [(hot, HOT), (cold, COLD[pair % len(COLD)])]
        for found, user in turn if pair % 2 else reversed(turn):
            found[pair] = push(user)
    wall, cpu = np.median(hot / cold, axis=0).tolist()
    return PushRatios(wall, cpu, float(hot[:, 1].sum() / cold[:, 1].sum()))


def main() -> None:
    """Fill a server, race, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=101)
    parser.add_argument("--pairs", type=int, default=60, help="pushes to a hot and to a cold user")
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

        def read(*users: int, of: str = "paid") -> pa.Table:
            return store.get_online_features(of, {"user_id": list(users)}).table

        ways = {
            "100 users": lambda: read(*_SIZES[50]),
            "100 users, raw MGET": lambda: client.mget(names[50]),
            "hot user": lambda: read(HOT),
            "hot user, raw GET": lambda: client.get(names[10_000][0]),
            "hot user, ids of 36 letters": lambda: read(HOT, of=IDENTIFIED),
        }
        timings = race(ways, runs=args.runs)
        show(f"Windows online, {args.server}: 10 windows of 3 functions", timings, rows=1, ours="100 users")
        sizes = {count: (_mean(client, names[count]), _mean(client, deep[count])) for count in _SIZES}
        (identified,) = stored._names.rows(keys_of([HOT]), declare(IDENTIFIED, ["order_id"]).storage_name)
        most = client.strlen(identified)
        pushed = {"SQLite": pushes(embedded, view, args.pairs), args.server: pushes(store, view, args.pairs)}
    seconds = {timing.name: timing.median for timing in timings}
    measures = [
        Measure(
            "100 users of 50 events, against raw MGET", seconds["100 users"] / seconds["100 users, raw MGET"], 4, 2
        ),
        Measure("a user of 10,000 events", seconds["hot user"] * _MILLI, 2, 1, unit="ms"),
        Measure("what that reads", sizes[10_000][0] / _MILLI, 16, 6, unit="kB"),
        Measure("the same with ids of 36 letters", seconds["hot user, ids of 36 letters"] * _MILLI, 2, 1, unit="ms"),
        Measure("what that reads", most / _MILLI, 16, 6, unit="kB"),
    ]
    for where, ratios in pushed.items():
        what = f"a push to a hot user, against one to a cold one, {where}"
        measures.append(Measure(what, ratios.wall, 1.3, 1.1))
        measures.append(Measure(f"{what}, CPU", ratios.cpu, 1.3, 1.1))
        measures.append(Measure(f"{what}, CPU, mean", ratios.mean, 1.3, 1.1))
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
