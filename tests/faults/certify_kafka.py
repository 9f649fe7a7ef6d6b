"""Kafka is certified by the suite that certifies any other stream; each reader waits some seconds for its partitions.

python -m pytest tests/faults/certify_kafka.py
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from fs_core.testing import StreamSuite


class Topic:
    """A topic of the mock cluster inside the client, which has four partitions."""

    def __init__(self, address: str) -> None:
        self._address, self._name = address, f"events{uuid.uuid4().hex[:8]}"
        self.url = f"kafka://{address}/{self._name}"
        self._producer = Producer({"bootstrap.servers": address, "linger.ms": 0})
        self._producer.list_topics(self._name, timeout=20)  # makes the topic

    def send(self, bodies: Sequence[bytes]) -> None:
        """See `Broker.send`."""
        for body in bodies:
            self._producer.produce(self._name, body, key=body[-3:])
        assert self._producer.flush(20) == 0

    def put_aside(self) -> list[tuple[bytes, str]]:
        """See `Broker.put_aside`."""
        name = f"{self._name}.rejected"
        consumer = Consumer({"bootstrap.servers": self._address, "group.id": "looking", "enable.partition.eof": True})
        numbers = list(consumer.list_topics(name, timeout=20).topics[name].partitions)
        consumer.assign([TopicPartition(name, number, 0) for number in numbers])
        found, ended = list[tuple[bytes, str]](), 0
        while ended < len(numbers):
            for message in consumer.consume(100, 1):
                if message.error() is not None:
                    ended += 1
                else:
                    found.append((message.value(), dict(message.headers())["reason"].decode()))
        consumer.close()
        return found


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a mock cluster answers."""
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused:1", "log_level": 0})
    (broker,) = cluster.list_topics(timeout=20).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del cluster


class TestKafka(StreamSuite):
    """Certifies it."""

    idle = "15s"

    @pytest.fixture
    def broker(self, address: str) -> Topic:
        """A topic for each test."""
        return Topic(address)
