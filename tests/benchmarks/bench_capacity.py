"""What the capacity model takes for known, measured here: beside each number that which the model has.

Then what nodes of a cluster are asked for when some entities are asked for more often than others: by the model, and by
a simulation that draws requests one by one.

python -m tests.benchmarks.bench_capacity [--entities 200000]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from binascii import crc_hqx
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import redis
from rich.console import Console
from rich.table import Table

from fs_core import Entity, FeatureStore, FeatureView, Field, StreamSource
from fs_core.capacity import Rates, hot_spots
from fs_core.capacity.hot_spots import SLOTS
from fs_core.online.row.keys import pack_keys
from tests.benchmarks.bench_ingest import USERS, VIEW, add, event
from tests.buckets import Relay, running_s3
from tests.servers import running_server

NUMBERS = FeatureView(
    "ten",
    entity=Entity("user", keys={"user": "int64"}),
    fields=[Field(f"f{i}", "float64", "A number.") for i in range(10)],
    description="Ten numbers of a user.",
)
_READS, _BATCH = 2_000, 100
_ROWS_OF_ONE = 10  # of history
_COMMITS = 30
NODES = 100


def rows_of(entities: int, times: int = 1) -> pa.Table:
    """Return some rows of each entity, of the last days."""
    random, count = np.random.default_rng(7), entities * times
    now = int(datetime.now(UTC).timestamp() * 1e6)
    moments = pa.array(now - random.integers(1, 10**11, count)).cast(pa.timestamp("us", "UTC"))
    numbers = {name: random.random(count) for name in NUMBERS.features}
    return pa.table({"user": np.arange(count) % entities, "event_timestamp": moments, **numbers})


def server_seconds(client: redis.Redis) -> float:
    """Return the processor time of a server by now."""
    found = client.info("cpu")
    return float(found["used_cpu_user"] + found["used_cpu_sys"])


def served(store: FeatureStore, client: redis.Redis, entities: int) -> dict[str, float]:
    """Return what a row costs the server that has it, and what a request and a row cost who asks."""
    random, took = np.random.default_rng(8), dict[int, float]()
    for batch in (1, _BATCH):
        asked = random.integers(0, entities, (_READS, batch)).tolist()
        store.get_online_features(NUMBERS, {"user": asked[0]})
        began, at_server = time.process_time(), server_seconds(client)
        for users in asked:
            store.get_online_features(NUMBERS, {"user": users}).to_arrow()
        took[batch], at_server = (time.process_time() - began) / _READS, server_seconds(client) - at_server
    row = (took[_BATCH] - took[1]) / (_BATCH - 1)
    return {"served": at_server / _READS / _BATCH, "request": took[1] - row, "row": row}


def stored(store: FeatureStore, client: redis.Redis, entities: int) -> float:
    """Return what a row costs the server that it is written to."""
    before = server_seconds(client)
    store.materialize(NUMBERS)
    return (server_seconds(client) - before) / entities


def ingested(store: FeatureStore, client: redis.Redis, url: str, events: int) -> float:
    """Return what an event costs the process that takes it into history and online."""
    store.apply(VIEW, StreamSource("stream", url=f"{url}/numbers", description="Numbers."))
    for start in range(0, events, 10_000):
        add(client, [event(number % USERS, number) for number in range(start, start + 10_000)])
    began = time.process_time()
    store.ingest(VIEW, "stream", until_idle="1s")
    return (time.process_time() - began) / events


def joined(store: FeatureStore, entities: int) -> float:
    """Return what a row of spine or history costs whose training set is made, the index of history included."""
    now = datetime.now(UTC)
    random, moments = np.random.default_rng(9), [now - timedelta(hours=hour) for hour in range(24)]
    spine = {
        "user": random.integers(0, entities, entities),
        "event_timestamp": pa.array(moments * (entities // 24 + 1)),
    }
    spine["event_timestamp"] = spine["event_timestamp"][:entities]
    began = time.process_time()
    store.get_historical_features(spine, NUMBERS)
    return (time.process_time() - began) / (entities * (1 + _ROWS_OF_ONE))


def committed() -> dict[str, float]:
    """Return how many requests a commit to a bucket takes."""
    with (
        tempfile.TemporaryDirectory() as directory,
        running_s3() as server,
        Relay(server.environment["AWS_ENDPOINT_URL"]) as meter,
    ):
        os.environ.update(server.environment | {"AWS_ENDPOINT_URL": meter.url})
        with FeatureStore(Path(directory), offline="s3://history/capacity") as store:
            store.apply(NUMBERS)
            store.write(NUMBERS, rows_of(10))
            requests, puts = meter.requests, meter.puts
            for _ in range(_COMMITS):
                store.write(NUMBERS, rows_of(10))
            requests, puts = (meter.requests - requests) / _COMMITS, (meter.puts - puts) / _COMMITS
    return {"puts": puts, "gets": requests - puts}


def measured(entities: int) -> dict[str, float]:
    """Return all that can be measured here, by the names that `Rates` has."""
    with (
        running_server("Valkey 9.1") as url,
        redis.Redis.from_url(url) as client,
        tempfile.TemporaryDirectory() as directory,
        FeatureStore(Path(directory), online=url) as store,
    ):
        store.apply(NUMBERS)
        store.write(NUMBERS, rows_of(entities, _ROWS_OF_ONE))
        found = {"stored": stored(store, client, entities)}
        found |= served(store, client, entities)
        found |= {
            "joined": joined(store, entities),
            "event": ingested(store, client, url, 10_000 * max(entities // 10_000, 1)),
        }
    return found | committed()


def drawn(skew: float, entities: int, requests: int) -> float:
    """Return what the busiest of `NODES` nodes is asked for, as a multiple of the mean, by drawing requests."""
    random = np.random.default_rng(5)
    weights = np.arange(1, entities + 1, dtype=np.float64) ** -skew
    edges = np.cumsum(weights / weights.sum())
    keys = pack_keys([pa.array(random.permutation(entities))])
    node = np.array([crc_hqx(key, 0) % SLOTS * NODES // SLOTS for key in keys if key is not None])
    ranks = np.minimum(np.searchsorted(edges, random.random(requests)), entities - 1)
    loads = np.bincount(node[ranks], minlength=NODES)
    return float(loads.max() / loads.mean())


def spots(entities: int) -> Table:
    """Return how unevenly nodes are asked, by model and by drawing, and what keeping rows for a second does."""
    columns = (
        "busiest, of the mean",
        "the same, drawn",
        "with max_age of 1 s",
        "hottest entity, rows/s",
        "with max_age",
    )
    table = Table(
        "Zipf's exponent",
        *columns,
        title=f"{NODES} nodes, {entities:,} entities, 1,000,000 requests/s for one",
        title_justify="left",
    )
    for skew in (0.0, 0.8, 1.0, 1.1, 1.3):
        plain, kept = (hot_spots(NODES, entities, 1e6, skew=skew, max_age=age, processes=64) for age in (0.0, 1.0))
        table.add_row(
            f"{skew}",
            f"{plain.busiest:.2f}",
            f"{drawn(skew, entities, 1_000_000):.2f}",
            f"{kept.busiest:.2f}",
            f"{plain.hottest:,.0f}",
            f"{kept.hottest:,.0f}",
        )
    return table


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and print it beside what the model has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=200_000)
    asked, model = parser.parse_args(words), Rates()
    table = Table(
        "", "here", "in the model", "of it", title="Processor seconds, and requests to a bucket", title_justify="left"
    )
    for name, value in measured(asked.entities).items():
        known = getattr(model, name)
        table.add_row(name, f"{value:.3g}", f"{known:.3g}", f"{value / known:.2f}")
    Console(width=120).print(table, spots(asked.entities))


if __name__ == "__main__":
    main()
