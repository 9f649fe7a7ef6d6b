"""Broker, online store and consumers killed and started again, and a disk that is full, while events come.

Events come in any order, and some of them again. Whatever happens, history has each message of the stream once,
windows count each event once, and online is what the rule says.

python -m tests.faults.outages --rounds 40
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field, StreamSource
from fs_core.errors import FeatureStoreError
from tests.faults.durable import DURABLE, Server, server
from tests.faults.six_processes import PRELOADED
from tests.faults.victims import CONTEXT, kill, started

THING = Entity("thing", keys={"k": "int64"}, description="A thing.")
FIELDS = [Field("x", "int64", "Which fact.")]
VIEWS = [
    FeatureView("facts", entity=THING, fields=FIELDS, description="Facts."),
    FeatureView(
        "counted",
        entity=THING,
        fields=FIELDS,
        event_id=["x"],
        aggregations=[Aggregation("count", windows=[None]), Aggregation("sum", "x", windows=[None])],
        description="How many facts.",
    ),
]
START = datetime(2024, 1, 1, tzinfo=UTC)
THINGS, MEGABYTES = 20, 64


def consume(directory: str, online: str, view: str) -> None:
    """Take events until killed, as a service that is started again whenever it fails."""
    while True:
        with contextlib.suppress(FeatureStoreError), FeatureStore(directory, online=online) as store:
            store.ingest(view, "facts_stream", batch="50ms")
        time.sleep(0.1)


class Producer:
    """Adds events until told to end, from a thread: in any order of their times, and some of them again.

    Args:
        broker: which may be away.
        seed: of what is drawn.
    """

    def __init__(self, broker: Server, seed: int) -> None:
        self._draw, self._broker, self._ends = random.Random(seed), broker, threading.Event()
        self.answered = list[int]()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """Return once it has ended."""
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        with redis.Redis.from_url(self._broker.url, retry=Retry(NoBackoff(), 0), socket_timeout=5) as client:
            number = 0
            while not self._ends.is_set():
                again = number > 100 and self._draw.random() < 0.1
                fact = self._draw.randrange(number) if again else number
                if self._is_sent(client, fact):
                    self.answered.append(fact)
                    number += not again
                time.sleep(0.001)

    @staticmethod
    def _is_sent(client: redis.Redis, fact: int) -> bool:
        moment = START + timedelta(seconds=fact * 7919 % 10**6)  # the same each time
        event = {"k": fact % THINGS, "event_timestamp": moment.isoformat(), "x": fact}
        try:
            client.xadd("facts", {"m": json.dumps(event)})
        except redis.RedisError:  # it may be there or not
            time.sleep(0.02)
            return False
        return True


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[bool]:
    """Make a directory a disk of its own for as long as the context lasts; yield whether this machine lets us."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(directory)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@contextlib.contextmanager
def full(directory: Path) -> Iterator[None]:
    """Leave no byte on a disk for as long as the context lasts."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        any(file.write(b"x" * 2**16) == 0 for _ in itertools.count())
    try:
        yield
    finally:
        ballast.unlink()


class Play:
    """One play.

    Args:
        directory: of the store, on a disk of its own if `has_disk`.
        servers: the broker and the online store.
        draw: decides what happens.
        pause: how many seconds lie between faults at most, and how long they last.
        has_disk: whether the disk may be filled.
    """

    def __init__(
        self, directory: Path, servers: Sequence[Server], draw: random.Random, *, pause: float, has_disk: bool
    ) -> None:
        self._directory, self._draw, self._pause = directory, draw, pause
        self._broker, self._online = servers
        self._consumers = {view.name: self._started(view.name) for view in VIEWS}
        self._faults: list[Callable[[], None]] = [self._kill_broker, self._kill_online, self._kill_consumer]
        self._faults += [self._fill_disk] if has_disk else []

    def rounds(self, count: int) -> None:
        """Let something happen, each fault as often as any other."""
        for number in range(count):
            time.sleep(self._draw.uniform(0.1, self._pause))
            fault = self._faults[number % len(self._faults)]
            fault()
            assert all(consumer.is_alive() for consumer in self._consumers.values()), f"ended after {fault.__name__}"
        for consumer in self._consumers.values():
            kill(consumer)

    def _started(self, view: str) -> object:
        return started(consume, str(self._directory / "store"), self._online.url, view)

    def _kill_broker(self) -> None:
        self._kill(self._broker)

    def _kill_online(self) -> None:
        self._kill(self._online)

    def _kill(self, one: Server) -> None:
        one.kill()
        time.sleep(self._draw.uniform(0.0, self._pause))
        one.start()

    def _kill_consumer(self) -> None:
        name = self._draw.choice(VIEWS).name
        kill(self._consumers[name])
        self._consumers[name] = self._started(name)

    def _fill_disk(self) -> None:
        with full(self._directory):
            time.sleep(self._draw.uniform(0.1, self._pause))


def check(store: FeatureStore, broker: Server, answered: Sequence[int]) -> str:
    """Take what is left, and compare all with the stream; return a line about it.

    Raises:
        AssertionError: an event is lost or doubled, or online isn't what the rule says.
    """
    before = [store.history(view).num_rows for view in VIEWS]
    for view in VIEWS:
        store.ingest(view, "facts_stream", batch="50ms", until_idle="300ms")
    with redis.Redis.from_url(broker.url) as client:
        sent = [json.loads(entry[b"m"])["x"] for _, entry in client.xrange("facts")]
    assert set(answered) <= set(sent), "the broker lost what it had answered"
    for view in VIEWS:
        assert store.history(view)["x"].to_pylist() == sent, "lost, doubled, or out of order"
        assert store.verify_history(view).clean
        assert store.verify_online(view).total == 0
    served = store.get_online_features(["counted.count", "counted.x_sum"], {"k": range(THINGS)}).to_dicts()
    facts = {k: {x for x in sent if x % THINGS == k} for k in range(THINGS)}
    assert [(row["count"], row["x_sum"] or 0) for row in served] == [(len(f), sum(f)) for f in facts.values()]
    return f"{len(sent)} messages of {len(set(sent))} events, {before} of them taken meanwhile"


def main(words: Sequence[str] | None = None) -> None:
    """Play once, and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between faults at most")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    asked = parser.parse_args(words)
    print(f"seed {asked.seed}", flush=True)
    CONTEXT.set_forkserver_preload([*PRELOADED, "fs_core.streams.ingest", "fs_core.materialization.materialize"])
    with contextlib.ExitStack() as held:
        disk, other = (Path(held.enter_context(tempfile.TemporaryDirectory())) for _ in range(2))
        has_disk = held.enter_context(small_disk(disk))
        places = [other / name for name in ("broker", "online")]
        for place in places:
            place.mkdir()
        servers = [held.enter_context(server("Valkey 9.1", place, *DURABLE)) for place in places]
        broker, online = servers
        with FeatureStore(disk / "store", online=online.url) as store:
            store.apply(*VIEWS, StreamSource("facts_stream", url=f"{broker.url}/facts", description="Facts."))
        producer = Producer(broker, asked.seed)
        try:
            Play(disk, servers, random.Random(asked.seed), pause=asked.pause, has_disk=has_disk).rounds(asked.rounds)
        finally:
            producer.end()
        with FeatureStore(disk / "store", online=online.url) as store:
            found = check(store, broker, producer.answered)
        print(f"{asked.rounds} faults, {'with' if has_disk else 'without'} a full disk; {found}", flush=True)


if __name__ == "__main__":
    main()
