"""Consumers of a Redis Stream, killed at random, while events are added: each is in history once, and online is right.

So is a reader, as readers bring into the table what waits beside it.

python -m tests.faults.ingesting --kills 50
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis

from fs_core import Entity, FeatureStore, FeatureView, Field, StreamSource
from tests.faults.six_processes import PRELOADED
from tests.faults.victims import CONTEXT, kill, started
from tests.servers import running_server

THING = Entity("thing", keys={"k": "int64"}, description="A thing.")
VIEW = FeatureView("facts", entity=THING, fields=[Field("x", "int64", "Which fact.")], description="Facts.")
START = datetime(2024, 1, 1, tzinfo=UTC)
THINGS, POISON = 50, 97


def consume(directory: str) -> None:
    """Take events until killed."""
    with FeatureStore(directory) as store:
        store.ingest("facts", "facts_stream", batch="50ms")


def read(directory: str) -> None:
    """Read history until killed."""
    with FeatureStore(directory) as store:
        while True:
            store.history("facts")


ROLES = (consume, consume, read)


def produce(client: redis.Redis, ends: threading.Event) -> int:
    """Add events until told to end, some of them twice or in another order, some of them poison; return how many."""
    draw, sent = random.Random(3), 0
    while not ends.is_set():
        numbers = list(range(sent, sent + draw.randrange(1, 40)))
        for number in numbers:
            moment = START + timedelta(seconds=draw.randrange(10**6))
            event = {"k": number % THINGS, "event_timestamp": moment.isoformat(), "x": number}
            client.xadd("facts", {"m": json.dumps(event) if number % POISON else b"poison"})
        sent += len(numbers)
        time.sleep(0.01)
    return sent


def play(directory: Path, client: redis.Redis, kills: int, draw: random.Random) -> int:
    """Let all work and kill one after the other at random moments; return how many events were added."""
    ends, sent = threading.Event(), list[int]()
    producer = threading.Thread(target=lambda: sent.append(produce(client, ends)))
    producer.start()
    running = [started(role, str(directory)) for role in ROLES]
    for _ in range(kills):
        time.sleep(draw.uniform(0.1, 2.5))
        number = draw.randrange(len(running))
        kill(running[number])
        running[number] = started(ROLES[number], str(directory))
    for process in running:
        kill(process)
    ends.set()
    producer.join()
    return sent[0]


def check(store: FeatureStore, client: redis.Redis, sent: int) -> str:
    """Take what is left, and compare history with what was added; return a line about it.

    Raises:
        AssertionError: an event is lost or doubled, or online isn't what the rule says.
    """
    before = store.history("facts").num_rows
    store.ingest("facts", "facts_stream", batch="50ms", until_idle="300ms")
    there = store.history("facts")["x"].to_pylist()
    assert there == [number for number in range(sent) if number % POISON], "lost, doubled, or out of order"
    assert client.xlen("facts.rejected") >= sent // POISON
    assert store.verify_online("facts").total == 0
    assert store.verify_history().clean
    return f"{sent} events, {before} of them taken by consumers that were killed"


def main(words: Sequence[str] | None = None) -> None:
    """Play once, and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    asked = parser.parse_args(words)
    print(f"seed {asked.seed}", flush=True)
    CONTEXT.set_forkserver_preload([*PRELOADED, "fs_core.streams.ingest", "fs_core.materialization.materialize"])
    with (
        tempfile.TemporaryDirectory() as directory,
        running_server("Valkey 9.1") as url,
        FeatureStore(directory) as store,
        redis.Redis.from_url(url) as client,
    ):
        store.apply(VIEW, StreamSource("facts_stream", url=f"{url}/facts", description="Facts."))
        sent = play(Path(directory), client, asked.kills, random.Random(asked.seed))
        print(f"{asked.kills} killed; {check(store, client, sent)}", flush=True)


if __name__ == "__main__":
    main()
