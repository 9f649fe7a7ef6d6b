"""Events from Kafka, as its client's own mock cluster speaks it: each is in history once, from every partition."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field, StreamSource
from fs_core.errors import ConfigurationError, DefinitionError, StreamError
from fs_core.streams import contract
from fs_core.streams.contract import Rejected
from fs_core.streams.kafka import KafkaConsumer

confluent_kafka = pytest.importorskip("confluent_kafka")

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
PAID = FeatureView("paid", entity=USER, fields=[Field("n", "int64", "Which.")], description="Payments.")
START = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def broker() -> tuple[str, Any]:
    """A mock cluster inside the client, which speaks the real protocol; its address and a producer."""
    cluster = confluent_kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused:1", "log_level": 0})
    addresses = [f"{b.host}:{b.port}" for b in cluster.list_topics(timeout=20).brokers.values()]
    return ",".join(addresses), cluster


class Topic:
    """A topic of its own, and the stream that it is."""

    def __init__(self, broker: tuple[str, Any], name: str) -> None:
        self.name, (self._address, self.producer) = name, broker
        self.source = StreamSource(name, url=f"kafka://{self._address}/{name}", description="Payments.")

    def send(self, *numbers: int, body: bytes | None = None) -> None:
        """Add events, spread over the partitions."""
        for n in numbers:
            event = {"user_id": n % 9, "event_timestamp": (START + timedelta(seconds=n)).isoformat(), "n": n}
            self.producer.produce(self.name, body or json.dumps(event).encode(), key=str(n % 9))
        assert self.producer.flush(20) == 0

    def read(self, name: str) -> list[Any]:
        """Return the messages of a topic."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self._address, "group.id": "looking"})
        numbers = consumer.list_topics(name, timeout=20).topics[name].partitions
        consumer.assign([confluent_kafka.TopicPartition(name, number, 0) for number in numbers])
        found = consumer.consume(1, timeout=20)
        consumer.close()
        return found


@pytest.fixture
def topic(broker: tuple[str, Any], request: pytest.FixtureRequest) -> Topic:
    """A topic for each test."""
    return Topic(broker, request.node.name[:40])


@pytest.fixture
def opened(store: FeatureStore, topic: Topic) -> FeatureStore:
    """A store in which view and stream are known."""
    store.apply(PAID, topic.source)
    return store


def numbers(store: FeatureStore) -> list[int]:
    """Return which events are in history."""
    found: list[int] = store.history("paid")["n"].to_pylist()
    return found


def test_events_of_all_partitions(opened: FeatureStore, topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every partition is read once, in batches of so many bytes, poison is put aside, and a second run goes on."""
    monkeypatch.setattr(contract, "BATCH_BYTES", 1_000)
    monkeypatch.setattr(contract, "_FIRST", 5)
    topic.send(*range(100))
    topic.send(0, body=b"poison")
    done = opened.ingest("paid", topic.name, batch="200ms", until_idle="1s")
    assert (done.rows, done.rejected, done.lag) == (100, 1, 0)
    assert done.batches >= 5
    assert sorted(numbers(opened)) == list(range(100))
    assert opened.verify_online("paid").total == 0
    (rejected,) = topic.read(f"{topic.name}.rejected")
    assert rejected.value() == b"poison"
    assert b"no JSON object" in dict(rejected.headers())["reason"]
    topic.send(100)
    assert opened.ingest("paid", topic.name, batch="200ms", until_idle="1s").rows == 1


def test_what_is_put_aside_is_cut_where_it_is_too_large(store: FeatureStore, topic: Topic) -> None:
    """A rejected message that is too large to be sent is put aside with its beginning alone."""
    small = replace(topic.source, url=f"{topic.source.url}?message.max.bytes=2000")
    store.apply(PAID)
    topic.send(1, 2)
    topic.send(3, body=b"poison" * 1000)
    done = store.ingest("paid", small, batch="200ms", until_idle="1s")
    assert (done.rows, done.rejected) == (2, 1)
    (rejected,) = topic.read(f"{topic.name}.rejected")
    assert rejected.value() == (b"poison" * 1000)[:500]
    assert b"no JSON object" in dict(rejected.headers())["reason"]


def test_a_broker_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """That rejected messages can't be put aside is an error; that nobody knows how many messages wait is none."""
    cluster = confluent_kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused:1", "log_level": 0})
    (broker,) = cluster.list_topics(timeout=20).brokers.values()
    cluster.produce("paid", b"poison")
    assert cluster.flush(20) == 0
    url = f"kafka://{broker.host}:{broker.port}/paid?message.timeout.ms=300&log_level=0"
    consumer = KafkaConsumer(url, stream="paid", topic="paid", group="readers")
    consumer.seek(dict.fromkeys(consumer.partitions()))
    message = Rejected("kafka:paid:paid:0", 0, b"poison", "it is poison")
    consumer.reject([message])
    assert consumer.lag() == 1
    del cluster
    monkeypatch.setattr("fs_core.streams.kafka._ANSWER_SECONDS", 1.0)
    assert consumer.lag() is None
    with pytest.raises(StreamError, match=r"1 messages .* can't be put aside in the topic 'paid\.rejected'"):
        consumer.reject([message])
    consumer.close()


def test_credentials_before_the_servers(
    store: FeatureStore, topic: Topic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are refused with what to write instead, and show nowhere."""
    store.apply(PAID, topic.source)
    monkeypatch.setenv(topic.source.variable, topic.source.url.replace("://", "://user:hunter2@"))
    with pytest.raises(ConfigurationError, match=r"sasl\.password") as caught:
        store.ingest("paid", topic.name)
    assert "hunter2" not in str(caught.value) + caplog.text
    for name in ("ssl.key.pem", "sasl.jaas.config", "sasl.oauthbearer.config"):
        with pytest.raises(DefinitionError, match="carries a password"):
            StreamSource("paid", url=f"{topic.source.url}?{name}=hunter2", description="Payments.")


def test_what_is_refused(
    opened: FeatureStore,
    topic: Topic,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Brokers that don't answer, and settings that the client doesn't know; what the client says of it is debugging."""
    odd = StreamSource("odd", url=f"{topic.source.url}?no.such=1", description="Odd.")
    with pytest.raises(ConfigurationError, match=r"no\.such"):
        opened.ingest("paid", odd)
    gone = StreamSource("gone", url="kafka://localhost:1/gone", description="Gone.")
    monkeypatch.setattr("fs_core.streams.kafka._ANSWER_SECONDS", 0.5)
    with (
        caplog.at_level(logging.DEBUG, "fs_core"),
        pytest.raises(StreamError, match=r"stream 'gone': .*no broker of localhost:1 answers"),
    ):
        opened.ingest("paid", gone)
    assert {record.levelname for record in caplog.records if "FAIL" in record.getMessage()} == {"DEBUG"}
    assert "FAIL" not in capfd.readouterr().err


def test_seeking(topic: Topic, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing comes twice where the client answers an earlier seek late; what the broker doesn't have is told."""
    topic.send(*range(40))
    consumer = KafkaConsumer(topic.source.url, stream=topic.name, topic=topic.name, group="seekers")
    names = consumer.partitions()

    def read(count: int, positions: dict[str, int | None]) -> list[int]:
        found, ends = list[int](), time.monotonic() + 60
        consumer.seek(positions)
        while len(found) < count and time.monotonic() < ends:
            found += [at for part in consumer.poll(0.05, 1000) for at in part.positions]
        return found

    consumer.seek(dict.fromkeys(names))
    whole = read(40, dict.fromkeys(names))
    assert sorted(read(40 - whole.count(0), dict.fromkeys(names, 0))) == sorted(at for at in whole if at)

    with pytest.raises(StreamError, match=r"ends at offset \d+, and history has taken offset 500: .* made anew"):
        read(1, dict.fromkeys(names, 500))

    for _ in range(8):  # the mock broker keeps five megabytes of a partition
        topic.producer.produce(topic.name, b"x" * 900_000, partition=0)
        assert topic.producer.flush(20) == 0
    consumer.seek({name: 0 if name.endswith(":0") else None for name in names})
    found, ends = list[int](), time.monotonic() + 60
    while not found and time.monotonic() < ends:
        found += [at for part in consumer.poll(0.05, 1000) if part.partition.endswith(":0") for at in part.positions]
    assert f"offsets 1 to {found[0] - 1} of partition 0 are gone" in caplog.text
    consumer.close()
