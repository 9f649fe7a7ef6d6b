"""Events into history and online: how many a second of a Redis Stream and of Kafka, and how long from XADD to online.

Kafka is the mock cluster of its client, which lies in this process.

python -m tests.benchmarks.bench_ingest [--events 200000] [--rate 5000] [--seconds 10] [--batch 100ms]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from unittest.mock import patch

import confluent_kafka
import numpy as np
import redis
from rich.console import Console
from rich.table import Table

from fs_core import Entity, FeatureStore, FeatureView, Field, StreamSource
from fs_core.streams.contract import Messages
from fs_core.streams.ingest import Ingestion
from tests.servers import running_server

VIEW = FeatureView(
    "numbers",
    entity=Entity("user", keys={"user": "int64"}),
    fields=[*(Field(f"f{i}", "float64", "A number.") for i in range(8)), Field("shop", "string", "Where.")],
    description="Numbers of a user.",
)
USERS, PROBE = 10_000, -1
_GATHERED = 0.05  # seconds for which messages are gathered
_MOCKED = 60_000  # events that the mock cluster keeps; it drops what is older
_EVERY = 0.05  # seconds between looks at the probe's value


def event(user: int, number: float) -> bytes:
    """Return a message of ten columns."""
    numbers = {f"f{i}": number + i / 8 for i in range(8)}
    return json.dumps({"user": user, "event_timestamp": datetime.now(UTC).isoformat(), **numbers, "shop": "s"}).encode()


def add(client: redis.Redis, bodies: Sequence[bytes]) -> None:
    """Add messages to the stream."""
    pipeline = client.pipeline(transaction=False)
    for body in bodies:
        pipeline.xadd("numbers", {"m": body})
    pipeline.execute()


def throughput(store: FeatureStore, client: redis.Redis, events: int) -> float:
    """Take what waits in a Redis Stream; return how many events a second."""
    for start in range(0, events, 10_000):
        add(client, [event(number % USERS, number) for number in range(start, min(events, start + 10_000))])
    return taken(store, "stream", events)


def kafka_throughput(store: FeatureStore, events: int) -> float:
    """Take what waits in four partitions of a topic; return how many events a second."""
    settings = {"test.mock.num.brokers": 1, "bootstrap.servers": "unused:1", "log_level": 0}
    producer = confluent_kafka.Producer({**settings, "queue.buffering.max.messages": events})
    address = ",".join(f"{b.host}:{b.port}" for b in producer.list_topics(timeout=20).brokers.values())
    store.apply(StreamSource("topic", url=f"kafka://{address}/numbers", description="Numbers."))
    for number in range(events):
        producer.produce("numbers", event(number % USERS, number), key=str(number % USERS))
    if producer.flush(60):
        raise SystemExit("the mock cluster didn't take all events: no time is shown.")
    return taken(store, "topic", events)


def taken(store: FeatureStore, stream: str, events: int) -> float:
    """Take what waits; return how many events a second, from when the first batch is gathered until all are online.

    So it doesn't count how long a consumer waits for its partitions, nor how long it waits for further events.
    """
    moments, take = list[float](), Ingestion.take

    def timed(self: Ingestion, found: Sequence[Messages]) -> None:
        moments.append(time.perf_counter() - _GATHERED if not moments else 0.0)
        take(self, found)
        moments.append(time.perf_counter())

    with patch.object(Ingestion, "take", timed):
        done = store.ingest(VIEW, stream, batch=f"{_GATHERED * 1e3:.0f}ms", until_idle="5s")
    if done.rows != events:
        raise SystemExit(f"{done}: no time is shown.")
    return events / (moments[-1] - moments[0])


def latencies(store: FeatureStore, client: redis.Redis, rate: int, seconds: float, batch: str) -> list[float]:
    """Add events at a rate, a probe among them ten times a second; return how long each probe took to be served."""
    taking = threading.Thread(target=store.ingest, args=(VIEW, "stream"), kwargs={"batch": batch, "until_idle": "3s"})
    taking.start()
    took, ends, number = list[float](), time.perf_counter() + seconds, 0
    while time.perf_counter() < ends:
        began = time.perf_counter()
        number += 1
        add(client, [event(user, number) for user in range(rate // 10)])
        sent = time.perf_counter()
        add(client, [event(PROBE, number)])
        while (store.get_online_features(VIEW, {"user": [PROBE]}).table["f0"][0].as_py() or 0) < number:
            time.sleep(_EVERY / 10)
        took.append(time.perf_counter() - sent)
        time.sleep(max(0.0, began + 0.1 - time.perf_counter()))
    taking.join()
    return took


def main(words: Sequence[str] | None = None) -> None:
    """Measure both in new stores beside a server of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", default="100ms")
    asked = parser.parse_args(words)
    table = Table("JSON of 10 columns", "", "bar (stretch)", title="Ingest into history and online (Valkey)")
    with (
        tempfile.TemporaryDirectory() as directory,
        running_server("Valkey 9.1") as url,
        redis.Redis.from_url(url) as client,
        FeatureStore(directory, online=url) as store,
    ):
        store.apply(VIEW, StreamSource("stream", url=f"{url}/numbers", description="Numbers."))
        found = throughput(store, client, asked.events)
        table.add_row("Redis Stream, events a second", f"{found:,.0f}", "30,000 (100,000)")
        table.add_row(
            "Kafka, events a second", f"{kafka_throughput(store, min(asked.events, _MOCKED)):,.0f}", "30,000 (100,000)"
        )
        took = np.array(latencies(store, client, asked.rate, asked.seconds, asked.batch)) * 1e3
        shown = f"p50 {np.percentile(took, 50):.0f} ms, p99 {np.percentile(took, 99):.0f} ms"
        table.add_row(f"from XADD to online at {asked.rate:,}/s", shown, "p99 500 (100) ms")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
