"""From a stream into history and online, until somebody stops it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pyarrow as pa

from fs_core.errors import OnlineStoreError, StreamError
from fs_core.offline.contract import OvertakenError, Progress
from fs_core.offline.sifted import Sifted
from fs_core.rule import AVAILABLE_AT, EVENT_TIME
from fs_core.runtime.stop import Stop
from fs_core.streams.contract import Consumer, Messages, Rejected
from fs_core.streams.rows import Reader

log = logging.getLogger("fs_core")

MOST = 50_000
"""Messages of a batch, about: bounds memory where much waits."""

_SUSPICIOUS = 100  # messages in a row that become nothing, at the very start: then the mapping is wrong, not they
_SETTLE_SECONDS = 60.0  # without a message, until what came before is where other programs see it
_REPORT_SECONDS = 10.0  # between lines in the log
_WATCH_SECONDS = 1.0  # between looks at how many messages wait, where somebody watches
_ATTEMPTS = 5  # to bring online what is missing there
_PAUSE = 0.2  # seconds after the first; then twice as long each time


@dataclass
class Ingested:
    """What an `ingest` did.

    Attributes:
        messages: how many came.
        rows: how many rows were added to history.
        rejected: how many messages became no row; the broker has them beside the stream, with reasons.
        quarantined: how many rows broke what the view declares; its quarantine has them, each once, with reasons.
        repeated: how many another consumer had brought into history first.
        batches: in how many parts they were brought into history.
        delay: the longest from an event's time to its availability.
        lag: how many messages wait, of a Redis Stream at most 10,000; None where the broker can't tell.
    """

    messages: int = 0
    rows: int = 0
    rejected: int = 0
    quarantined: int = 0
    repeated: int = 0
    batches: int = 0
    delay: timedelta = field(default_factory=timedelta)
    lag: int | None = None

    def __str__(self) -> str:
        waiting = "" if self.lag is None else f", {self.lag:,} wait"
        aside = f"{self.quarantined:,} in quarantine, " if self.quarantined else ""
        return (
            f"{self.messages:,} messages: {self.rows:,} new rows, {self.rejected:,} rejected, {aside}{self.repeated:,} "
            f"repeated; at most {self.delay} late{waiting}"
        )


Watch = Callable[[Ingested], None]
"""Is told now and then how an `ingest` goes."""


@dataclass(frozen=True)
class Target:
    """What `ingest` brings rows into.

    Attributes:
        positions: returns how far history has taken partitions.
        append: adds rows that are available now to history, with their progress; returns what brings them online. There
            may be none, where all messages were put aside.
        settle: brings what was added to where other programs see it.
        quarantine: puts rows into the view's quarantine; returns which.
        catch_up: brings everything online that history has and may be missing there.
        now: returns the present moment, microseconds.
    """

    positions: Callable[[Sequence[str]], Mapping[str, int | None]]
    append: Callable[[pa.Table, Progress, int], Callable[[], None]]
    settle: Callable[[], None]
    quarantine: Callable[[Sifted], pa.Table]
    catch_up: Callable[[], None]
    now: Callable[[], int]


class Ingestion:
    """One run of one consumer.

    Args:
        consumer: reads the stream.
        reader: makes rows of messages.
        target: takes the rows.
        watch: is told about once a second how it goes.
    """

    def __init__(self, consumer: Consumer, reader: Reader, target: Target, watch: Watch | None = None) -> None:
        self._consumer, self._mapping, self._target, self._watch = consumer, reader, target, watch
        self._history: dict[str, int | None] = {}  # how far it has taken the partitions that are ours
        self._generation: int | None = None  # of the partitions, when they were sought
        self._is_behind = True  # rows may be missing online, as where a consumer died between history and online
        self._is_settled = True
        self.done = Ingested()
        self._reported = time.monotonic(), 0
        self._watched = -_WATCH_SECONDS

    def run(self, *, batch: float, until_idle: float | None, stop: Stop | None = None) -> Ingested:
        """Take batches until nothing has come for some time, or for ever.

        Args:
            batch: seconds for which messages are gathered.
            until_idle: seconds without a message after which it ends; None for never.
            stop: is set when it should end, after the batch in hand.
        """
        idle_since = time.monotonic()
        while not (stop and stop.is_set()) and (until_idle is None or time.monotonic() - idle_since < until_idle):
            self._follow()
            if self._is_behind:
                self._catch_up(1)
            found = self._consumer.poll(batch, MOST)
            if found:
                self.take(found)
                idle_since, self._is_settled = time.monotonic(), False
            elif not self._is_settled and time.monotonic() - idle_since > _SETTLE_SECONDS:
                self._target.settle()
                self._is_settled = True
            self._report()
        if self._is_behind and not self._catch_up(_ATTEMPTS):
            raise OnlineStoreError(f"{self.done}. They are safe in history, but not online; materialize brings them.")
        self._look()
        return self.done

    def take(self, found: Sequence[Messages]) -> None:
        """Bring messages into history and online."""
        now = self._target.now()
        taken = [self._mapping.take(messages, now) for messages in found]
        rejected = [message for part in taken for message in part.rejected]
        rows = pa.concat_tables([part.rows for part in taken])
        self._refuse_nonsense(rows, rejected)
        self.done.messages += sum(len(messages.bodies) for messages in found)
        if rejected:
            self._reject(rejected)
        broken = [one for part in taken for one in part.quarantined]
        quarantined = sum(self._target.quarantine(one).num_rows for one in broken)
        if (rows.num_rows or rejected or broken) and self._append(found, rows, now):
            self.done.quarantined += quarantined

    def _append(self, found: Sequence[Messages], rows: pa.Table, now: int) -> bool:
        """Bring rows into history and online; tell whether no other consumer had taken these messages."""
        after = {messages.partition: messages.after for messages in found}
        try:
            before = {name: self._history[name] for name in after}
            deliver = self._target.append(rows, Progress(before, after), now)
        except OvertakenError:
            self.done.repeated += rows.num_rows
            log.info(
                "another consumer has taken messages of stream %r (%s) first; going on behind them",
                self._mapping.stream,
                ", ".join(after),
            )
            self._generation = None  # and so read on from where history is
            return False
        self._history.update(after)
        self.done.rows += rows.num_rows
        self.done.batches += 1
        if rows.num_rows:
            self.done.delay = max(self.done.delay, _delay(rows))
            self._deliver(deliver)
        self._consumer.taken(after)
        return True

    def _deliver(self, deliver: Callable[[], None]) -> None:
        try:
            deliver()
        except OnlineStoreError as error:
            self._is_behind = True
            log.warning("rows are in history, and wait to be brought online: %s", error)

    def _catch_up(self, attempts: int) -> bool:
        """Bring online what may be missing there; tell whether that came about."""
        for attempt in range(attempts):
            try:
                self._target.catch_up()
            except OnlineStoreError as error:
                log.warning("rows are in history, and wait to be brought online: %s", error)
                time.sleep(_PAUSE * 2**attempt)
            else:
                self._is_behind = False
                break
        return not self._is_behind

    def _report(self) -> None:
        """Say now and then how it goes: to whoever watches, and in the log."""
        moment, before = time.monotonic(), self._reported
        if self._watch is not None and moment - self._watched >= _WATCH_SECONDS:
            self._look()
        if moment - before[0] < _REPORT_SECONDS:
            return
        self._reported = moment, self.done.messages
        self._look()
        log.info("%s; %.0f messages/s", self.done, (self.done.messages - before[1]) / (moment - before[0]))

    def _look(self) -> None:
        self.done.lag, self._watched = self._consumer.lag(), time.monotonic()
        if self._watch is not None:
            self._watch(self.done)

    def _follow(self) -> None:
        """Read partitions that have become ours from where history is."""
        if self._generation != self._consumer.generation:
            self._generation = self._consumer.generation
            self._history = dict(self._target.positions(list(self._consumer.partitions())))
            self._consumer.seek(self._history)

    def _reject(self, rejected: Sequence[Rejected]) -> None:
        self._consumer.reject(rejected)
        self.done.rejected += len(rejected)
        first = rejected[0]
        log.warning(
            "%d messages of stream %r (%s) became no row; the first, at %s: %s",
            len(rejected),
            self._mapping.stream,
            first.partition,
            self._consumer.shown(first.position),
            first.reason,
        )

    def _refuse_nonsense(self, rows: pa.Table, rejected: Sequence[Rejected]) -> None:
        if not rows.num_rows and not self.done.rows and len(rejected) >= _SUSPICIOUS:
            raise StreamError(
                f"none of the first {len(rejected)} messages of {rejected[0].partition} became a row. None of "
                f"them was taken. The first one: {rejected[0].reason}"
            )


def _delay(rows: pa.Table) -> timedelta:
    """Return the longest time from an event to its availability."""
    known, event = (rows[name].cast(pa.int64()).to_numpy() for name in (AVAILABLE_AT, EVENT_TIME))
    return timedelta(microseconds=int((known - event).max()))
