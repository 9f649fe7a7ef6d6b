"""A Kafka topic as `fs_core.streams` reads it: the partitions that the consumer group gives this consumer.

The group only shares partitions. From where one is read says history, and a consumer that lost a partition while it
worked on its messages is refused its commit if the next owner was faster. What is committed to the broker is for its
tools to show.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from fs_core.errors import ConfigurationError, StreamError
from fs_core.streams.contract import Messages, Rejected, next_part

if TYPE_CHECKING:
    from confluent_kafka import Message, TopicPartition

log = logging.getLogger("fs_core")

_ANSWER_SECONDS = 10.0  # of a broker
_JOIN_SECONDS = 30.0  # of a group, until it has given this consumer its partitions, which may be none
_IN_FLIGHT = 1_000  # rejected messages that the client holds: its queue has an end
_CUT = 500  # bytes of a rejected message that is too large for its topic
_REASON = 1_000  # characters, as a header counts for the size of a message
_SETTINGS = {
    "enable.auto.commit": False,
    "auto.offset.reset": "error",  # a position that isn't there is looked at
    "partition.assignment.strategy": "range,roundrobin",  # which give partitions away before others get them
    "session.timeout.ms": 6000,  # until a killed consumer's partitions are another's
}


class _QuietLog:
    """Takes what the client says: a broker that is away makes it repeat itself, while errors are raised here anyway."""

    def log(self, _: int, message: str, *parts: object) -> None:
        """Pass a line on, as debugging."""
        log.debug(message, *parts)


class KafkaConsumer:
    """Reads a topic as one of a group. See `fs_core.streams.contract.Consumer`.

    Args:
        url: `kafka://host:9092,host:9092/topic`; settings of librdkafka may follow a `?`.
        stream: the name of the `StreamSource`.
        topic: the topic.
        group: the consumer group.

    Raises:
        ConfigurationError: the client isn't installed, or refuses a setting; or the URL has credentials before the
            servers.
        StreamError: no broker answers, or there is no such topic.
    """

    def __init__(self, url: str, *, stream: str, topic: str, group: str) -> None:
        self._kafka = _client()
        where, _, query = url.partition("?")
        servers = where.partition("://")[2].rpartition("/")[0]
        if "@" in where:
            raise ConfigurationError(
                f"topic {topic!r}: its URL has credentials before an '@', which Kafka's servers don't take. Give them "
                "as settings, in the variable of the environment that says the URL: kafka://host:9092/topic"
                "?security.protocol=SASL_SSL&sasl.mechanism=PLAIN&sasl.username=...&sasl.password=..."
            )
        self._settings: dict[str, Any] = {"bootstrap.servers": servers, "logger": _QuietLog(), **dict(parse_qsl(query))}
        self._stream, self._topic = stream, topic
        self._given: list[int] | None = None  # the partitions that are ours; None before the group has said
        self._positions: dict[int, int | None] = {}
        self.generation = 0
        try:
            self._consumer = self._kafka.Consumer({**_SETTINGS, "group.id": group, **self._settings})
        except (self._kafka.KafkaException, TypeError, ValueError) as error:
            raise ConfigurationError(f"Kafka's client refuses the settings of topic {topic!r}: {error}") from error
        self._join()

    def partitions(self) -> Sequence[str]:
        """See `Consumer.partitions`."""
        return [self._name(number) for number in self._given or ()]

    def seek(self, positions: Mapping[str, int | None]) -> None:
        """See `Consumer.seek`. A position is an offset."""
        self._positions = {number: positions[self._name(number)] for number in self._given or ()}
        self._assign()

    def _assign(self) -> None:
        """Read partitions from behind their positions on.

        The first offset is asked for here: the client, told to begin at the beginning, asks for it, too, and what it is
        answered late would undo a seek that came meanwhile.
        """
        starts = {n: self._ends(n)[0] if at is None else at + 1 for n, at in self._positions.items()}
        self._consumer.assign([self._at(number, start) for number, start in starts.items()])

    def _ends(self, number: int) -> tuple[int, int]:
        """Return the first offset of a partition, and the one that the next message will have.

        Raises:
            StreamError: the broker doesn't answer.
        """
        reason: object = "no answer in time"
        try:
            found: tuple[int, int] | None = self._consumer.get_watermark_offsets(
                self._at(number, 0), timeout=_ANSWER_SECONDS
            )
        except self._kafka.KafkaException as error:
            found, reason = None, error
        if found is None:
            raise StreamError(f"topic {self._topic!r}: no broker answers: {reason}")
        return found

    def poll(self, seconds: float, most: int) -> list[Messages]:
        """See `Consumer.poll`."""
        found: dict[int, list[Message]] = {}
        gone: list[int] = []
        for message in self._gathered(seconds, most):
            error = message.error()
            if error is not None and error.code() == self._kafka.KafkaError._AUTO_OFFSET_RESET:
                gone.append(message.partition())
            elif error is not None:
                self._refuse(error)
            elif message.partition() in self._positions:
                found.setdefault(message.partition(), []).append(message)
        parts = [(number, self._new(number, part)) for number, part in found.items() if number in self._positions]
        messages = [self._messages(number, part) for number, part in parts if part]
        if gone:
            self._pass_over(gone)
        return messages

    def _gathered(self, seconds: float, most: int) -> list[Any]:
        ends, found, size = time.monotonic() + seconds, list[Any](), 0
        while count := next_part(len(found), size, most):
            left = ends - time.monotonic()
            part = self._consumer.consume(count, max(0.0, left))
            found += part
            size += sum(map(len, part))
            if left <= 0 or not part:
                break
        return found

    def shown(self, position: int) -> str:
        """See `Consumer.shown`: an offset."""
        return str(position)

    def reject(self, messages: Sequence[Rejected]) -> None:
        """See `Consumer.reject`: to the topic whose name ends in `.rejected`.

        Of a message that is too large for it, its beginning.
        """
        failed = self._put_aside(messages)
        too_large = [replace(message, body=message.body[:_CUT]) for message, error in failed if self._is_size(error)]
        failed = [part for part in failed if not self._is_size(part[1])] + self._put_aside(too_large)
        if failed:
            raise StreamError(
                f"{len(failed)} messages that became no row can't be put aside in the topic '{self._topic}.rejected'. "
                f"Let this client write there. The first one: {failed[0][1]}"
            )

    def _put_aside(self, messages: Sequence[Rejected]) -> list[tuple[Rejected, Any]]:
        """Send messages; return those that the broker hasn't taken, with errors."""
        producer = self._kafka.Producer(self._settings)
        topic, waiting = f"{self._topic}.rejected", dict(enumerate(messages))
        failed = list[tuple[Rejected, Any]]()

        def delivered(number: int, error: Any, _: object = None) -> None:
            message = waiting.pop(number)
            if error is not None:
                failed.append((message, error))

        for number, message in enumerate(messages):
            if len(producer) >= _IN_FLIGHT and producer.flush(_ANSWER_SECONDS):
                break
            headers = _headers(message)
            try:
                producer.produce(topic, message.body, headers=headers, on_delivery=partial(delivered, number))
            except (self._kafka.KafkaException, BufferError) as error:
                delivered(number, error.args[0])
        producer.flush(_ANSWER_SECONDS)
        return failed + [(message, "the broker doesn't answer") for message in waiting.values()]

    def _is_size(self, error: Any) -> bool:
        kind = self._kafka.KafkaError
        return isinstance(error, kind) and error.code() == kind.MSG_SIZE_TOO_LARGE

    def taken(self, positions: Mapping[str, int]) -> None:
        """See `Consumer.taken`: the group's offsets."""
        offsets = [
            self._at(number, positions[self._name(number)] + 1)
            for number in self._positions
            if self._name(number) in positions
        ]
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def lag(self) -> int | None:
        """See `Consumer.lag`: of the partitions that are ours."""
        waiting = 0
        for number, position in self._positions.items():
            try:
                first, end = self._ends(number)
            except StreamError:
                return None
            waiting += max(0, end - (first if position is None else max(first, position + 1)))
        return waiting

    def close(self) -> None:
        """See `Consumer.close`."""
        self._consumer.close()

    def _join(self) -> None:
        try:
            known = self._consumer.list_topics(self._topic, timeout=_ANSWER_SECONDS).topics[self._topic]
            if known.error is not None:
                self._refuse(known.error)
        except self._kafka.KafkaException as error:
            self.close()
            raise StreamError(
                f"topic {self._topic!r}: no broker of {self._settings['bootstrap.servers']} answers: {error}"
            ) from error
        self._consumer.subscribe(
            [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )
        ends = time.monotonic() + _JOIN_SECONDS
        while self._given is None and time.monotonic() < ends:
            self._consumer.consume(1, 0.1)

    def _assigned(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        """Take partitions, but read none until it is known from where."""
        self._share(consumer, sorted(partition.partition for partition in partitions))

    def _revoked(self, consumer: Any, _: Sequence[TopicPartition]) -> None:
        self._share(consumer, [])

    def _share(self, consumer: Any, given: list[int]) -> None:
        consumer.unassign()
        self._given, self._positions = given, {}
        self.generation += 1

    def _refuse(self, error: Any) -> None:
        if error.code() == self._kafka.KafkaError._PARTITION_EOF or error.retriable():
            return
        raise StreamError(f"topic {self._topic!r}: Kafka says: {error.str()}")

    def _pass_over(self, numbers: Sequence[int]) -> None:
        """Go on at the first message of partitions whose next one the broker doesn't have any more.

        Raises:
            StreamError: it never had it, so this isn't the topic that was read before; or it doesn't answer.
        """
        for number in numbers:
            position = self._positions.get(number)
            if position is None:
                continue
            first, end = self._ends(number)
            if position >= end:
                raise StreamError(
                    f"topic {self._topic!r}: partition {number} ends at offset {end}, and history has taken offset "
                    f"{position}: the topic was made anew, or its broker lost messages. A stream of another name "
                    "begins at the first message."
                )
            log.warning(
                "stream %r: offsets %d to %d of partition %d are gone, as the broker kept them no longer",
                *(self._stream, position + 1, first - 1, number),
            )
            self._positions[number] = first - 1
        self._assign()

    def _new(self, number: int, found: Sequence[Message]) -> list[Message]:
        """Return the messages behind what was read, should the client have gone back."""
        position = self._positions[number]
        new: list[Message] = []
        for message in found:
            offset = int(message.offset() or 0)
            if position is None or offset > position:
                new.append(message)
                position = offset
        return new

    def _messages(self, number: int, found: Sequence[Message]) -> Messages:
        offsets = [int(message.offset() or 0) for message in found]
        self._positions[number] = offsets[-1]
        times = [message.timestamp()[1] * 1000 for message in found]
        return Messages(self._name(number), offsets, [message.value() for message in found], times)

    def _name(self, number: int) -> str:
        return f"kafka:{self._stream}:{self._topic}:{number}"

    def _at(self, number: int, offset: int) -> TopicPartition:
        found: TopicPartition = self._kafka.TopicPartition(self._topic, number, offset)
        return found


def _headers(message: Rejected) -> dict[str, str]:
    reason = message.reason[:_REASON]
    return {"reason": reason, "partition": message.partition, "offset": str(message.position)}


def _client() -> Any:
    try:
        import confluent_kafka
    except ImportError as error:
        raise ConfigurationError("Kafka needs its client: pip install 'fs-core[kafka]'.") from error
    return confluent_kafka
