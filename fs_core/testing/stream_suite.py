"""The conformance suite of streams: what `Consumer` promises, and what `ingest` makes of it, on a real broker."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field, StreamSource
from fs_core.streams.contract import Consumer, Messages, Rejected
from fs_core.streams.open import open_consumer
from fs_core.testing.processes import FRESH

_USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
_VIEW = FeatureView("counted", entity=_USER, fields=[Field("n", "int64", "Which event.")], description="Events.")
_START = datetime(2025, 1, 1, tzinfo=UTC)
_SECONDS = 60.0  # for whatever has to come about


class Broker(Protocol):
    """A stream for one test: empty at first, and read by nobody else.

    Attributes:
        url: of a `StreamSource`.
    """

    url: str

    def send(self, bodies: Sequence[bytes]) -> None:
        """Add messages behind those that are there, and return when a reader can have them."""
        ...

    def put_aside(self) -> list[tuple[bytes, str]]:
        """Return what `Consumer.reject` has rejected: bodies and reasons."""
        ...


def event(number: int) -> bytes:
    """Return the message of one event."""
    moment = (_START + timedelta(seconds=number * 37 % 1000)).isoformat()  # the events' own times are out of order
    return json.dumps({"user_id": number % 9, "event_timestamp": moment, "n": number}).encode()


def gather(
    consumer: Consumer, count: int, *, behind: Mapping[str, int] | None = None, most: int = 1000
) -> list[Messages]:
    """Read until some messages have come, as `ingest` does.

    Args:
        consumer: the reader.
        count: how many messages to wait for.
        behind: positions of partitions behind which to begin; the others begin with their first message.
        most: how many a poll may return.
    """
    found, known, generation = list[Messages](), dict[str, int](behind or {}), None
    _seek(consumer, known)
    ends = time.monotonic() + _SECONDS
    while sum(len(part.bodies) for part in found) < count and time.monotonic() < ends:
        if generation != consumer.generation:
            generation = consumer.generation
            _seek(consumer, known)
        came = consumer.poll(0.05, most)
        assert sum(len(part.bodies) for part in came) <= most, "more than a batch holds"
        known |= {part.partition: part.after for part in came}
        found += came
    return found


def _seek(consumer: Consumer, known: Mapping[str, int]) -> None:
    consumer.seek({name: known.get(name) for name in consumer.partitions()})


def _joined(found: Sequence[Messages]) -> dict[str, list[tuple[int, bytes | None]]]:
    """Return positions and bodies by partition."""
    parts: dict[str, list[tuple[int, bytes | None]]] = {}
    for part in found:
        parts.setdefault(part.partition, []).extend(zip(part.positions, part.bodies, strict=True))
    return parts


def _bodies(found: Sequence[Messages]) -> list[bytes]:
    return sorted(body for part in found for body in part.bodies if body is not None)


def _ingest(directory: Path) -> None:
    """Take events until killed."""
    with FeatureStore(directory) as features:
        features.ingest("counted", "events", batch="20ms")


class StreamSuite:
    """Subclass it with a fixture `broker` that returns a `Broker`; pytest does the rest.

    The stream is read by whatever the URL's scheme names: register it first, as an entry point of `fs_core.streams`.
    """

    idle = "200ms"
    """How long no message has to come until all have: longer than the broker takes to give a reader its partitions."""

    kills = 2
    """How many readers are killed."""

    is_ordered = False
    """Whether the stream has one partition, so that history has its order."""

    @pytest.fixture
    def broker(self) -> Broker:
        """The stream to certify; every subclass brings its own."""
        raise NotImplementedError("give the subclass a fixture named broker")

    @pytest.fixture
    def source(self, broker: Broker) -> StreamSource:
        """The stream's definition."""
        return StreamSource("events", url=broker.url, description="Events.")

    @pytest.fixture
    def consumer(self, source: StreamSource) -> Iterator[Consumer]:
        """A reader of the stream."""
        with closing(open_consumer(source, group="certified")) as opened:
            yield opened

    @pytest.fixture
    def features(self, source: StreamSource, tmp_path: Path) -> Iterator[FeatureStore]:
        """A store into which the stream is brought."""
        with FeatureStore(tmp_path / "features") as made:
            made.apply(_VIEW, source)
            yield made

    def test_the_contract_is_met(self, consumer: Consumer) -> None:
        """The reader has every method, and an empty stream has nothing."""
        assert isinstance(consumer, Consumer)
        _seek(consumer, {})
        assert consumer.poll(0.05, 10) == []
        assert consumer.lag() in (0, None)

    def test_messages_come_in_order(self, consumer: Consumer, broker: Broker) -> None:
        """All come, in each partition in the order in which they were sent; positions rise, times are the broker's."""
        broker.send([event(n) for n in range(30)])
        broker.send([event(n) for n in range(30, 50)])
        found = gather(consumer, 50)
        assert _bodies(found) == sorted(event(n) for n in range(50))
        for name, part in _joined(found).items():
            assert "events" in name
            numbers = [json.loads(body or b"")["n"] for _, body in part]
            assert numbers == sorted(numbers)
            positions = [position for position, _ in part]
            assert positions == sorted(set(positions))
            assert all(consumer.shown(position) for position in positions)
        for moment in (moment for part in found for moment in part.times):
            assert abs(datetime.fromtimestamp(moment / 10**6, UTC) - datetime.now(UTC)) < timedelta(days=1)

    def test_reading_goes_on_behind_a_position(self, consumer: Consumer, broker: Broker) -> None:
        """Whatever position was taken last, the rest is what follows it, each once; without one it is everything."""
        broker.send([event(n) for n in range(40)])
        whole = _joined(gather(consumer, 40))
        for share in (0, 0.3, 1):
            taken = {name: part[int(share * (len(part) - 1))][0] for name, part in whole.items()}
            rest = {name: [at for at in part if at[0] > taken[name]] for name, part in whole.items()}
            assert consumer.partitions()
            found = _joined(gather(consumer, sum(map(len, rest.values())), behind=taken))
            assert found == {name: part for name, part in rest.items() if part}
        assert _joined(gather(consumer, 40)) == whole

    def test_a_poll_gives_no_more_than_is_asked_for(self, consumer: Consumer, broker: Broker) -> None:
        """So memory is bounded, however much waits; and nothing is lost."""
        broker.send([event(n) for n in range(60)])
        assert _bodies(gather(consumer, 60, most=7)) == sorted(event(n) for n in range(60))

    def test_bytes_are_kept(self, consumer: Consumer, broker: Broker) -> None:
        """Of messages that are no text, and of long ones."""
        sent = [b"\x00\x01\xfe\xff", "é".encode(), b"x" * 100_000]
        broker.send(sent)
        assert _bodies(gather(consumer, 3)) == sorted(sent)

    def test_how_many_wait(self, consumer: Consumer, broker: Broker) -> None:
        """A reader that can tell says how many messages are behind those that it has read."""
        broker.send([event(n) for n in range(20)])
        found = gather(consumer, 20)
        assert consumer.lag() in (0, None)
        consumer.taken({part.partition: part.after for part in found})
        _seek(consumer, {})
        assert consumer.lag() in (20, None)

    def test_messages_are_put_aside(self, consumer: Consumer, broker: Broker) -> None:
        """With their bytes and the reason, also a second time."""
        broker.send([b"\xff odd", b"odder"])
        (name, part), *_ = _joined(gather(consumer, 2)).items()
        for number in range(2):
            consumer.reject([Rejected(name, position, body or b"", f"reason {number}") for position, body in part])
        expected = [(body, f"reason {number}") for number in range(2) for _, body in part]
        assert sorted(broker.put_aside()) == sorted(expected, key=lambda pair: (pair[0] or b"", pair[1]))

    def test_each_event_is_in_history_and_online(self, features: FeatureStore, broker: Broker) -> None:
        """Those that become no row are put aside; a second run takes what is new, a third one nothing."""
        broker.send([event(0), b"poison", *(event(n) for n in range(1, 30))])
        done = features.ingest("counted", "events", batch="50ms", until_idle=self.idle)
        assert (done.rows, done.rejected) == (30, 1)
        ((body, reason),) = broker.put_aside()
        assert (body, "no JSON object" in reason) == (b"poison", True)
        broker.send([event(30), event(3)])
        again = [features.ingest("counted", "events", batch="50ms", until_idle=self.idle).rows for _ in range(2)]
        assert again == [2, 0]
        assert sorted(self.numbers(features)) == sorted([*range(31), 3])
        assert features.verify_online("counted").total == 0

    def test_readers_that_are_killed(self, features: FeatureStore, broker: Broker) -> None:
        """However they end, each event is in history once, and online is what the rule says."""
        draw, sent = random.Random(7), 0  # noqa: S311  # no secret
        for _ in range(self.kills):
            reader = _started(Path(features.directory))
            before = len(self.numbers(features))
            while len(self.numbers(features)) == before or draw.random() < 0.6:
                assert reader.is_alive()
                broker.send([event(n) for n in range(sent, sent + 5)])
                sent += 5
                time.sleep(0.02)  # else this thread, which competes with the reader, sends without end
            reader.kill()
            reader.join()
        self.check(features, sent)

    def test_two_readers(self, features: FeatureStore, broker: Broker) -> None:
        """Readers of one stream for one view bring each event into effect once."""
        stores = [FeatureStore(features.directory) for _ in range(2)]
        ingest = [
            threading.Thread(
                target=store.ingest, args=("counted", "events"), kwargs={"batch": "10ms", "until_idle": self.idle}
            )
            for store in stores
        ]
        for thread in ingest:
            thread.start()
        for number in range(0, 200, 10):
            broker.send([event(n) for n in range(number, number + 10)])
        for thread in ingest:
            thread.join()
        for store in stores:
            store.close()
        self.check(features, 200)

    def check(self, features: FeatureStore, sent: int) -> None:
        """Take what is left, and compare history with what was sent."""
        features.ingest("counted", "events", batch="50ms", until_idle=self.idle)
        there = self.numbers(features)
        assert (there if self.is_ordered else sorted(there)) == list(range(sent)), "lost, doubled or out of order"
        assert features.verify_online("counted").total == 0
        assert features.verify_history().clean

    @staticmethod
    def numbers(features: FeatureStore) -> list[int]:
        """Return which events are in history, in the order written."""
        found: list[int] = features.history("counted")["n"].to_pylist()
        return found


def _started(directory: Path) -> BaseProcess:
    process = FRESH.Process(target=_ingest, args=(directory,), daemon=True)
    process.start()
    return process
