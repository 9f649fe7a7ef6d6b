"""The method that brings events from streams into views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import FeatureView, StreamSource
from fs_core.errors import ConfigurationError, SourceError
from fs_core.offline.contract import EMPTY, PositionedHistory, Progress, PushedHistory
from fs_core.store.history.append import into_quarantine, numbered
from fs_core.store.live.delivery import deliver, delivery
from fs_core.store.materialization import materialize
from fs_core.store.resources import Resources
from fs_core.values.times import duration_micros, parse_duration

if TYPE_CHECKING:
    from fs_core.runtime.stop import Stop
    from fs_core.streams.ingest import Ingested, Target, Watch


def ingest(
    store: Resources,
    view: str | FeatureView,
    stream: str | StreamSource | None = None,
    *,
    batch: timedelta | str = "50ms",
    until_idle: timedelta | str | None = None,
    watch: Watch | None = None,
    stop: Stop | None = None,
) -> Ingested:
    """Bring the messages of a stream into a view's history and online, each once in effect; return what was done.

    How far the stream has been taken is in the same write as the rows. So whatever dies, and whenever: who calls this
    again goes on behind the last row that is in history, and nothing is lost or there twice. Online rows follow; what a
    dead process left undone online is made good at the start. A row is available from the moment at which it was taken,
    as with `push`. Messages that become no row are put beside the stream, with reasons (`KEY.rejected` in Redis);
    rows that break what the view declares too, unless it has a quarantine.

    Args:
        view: its reference.
        stream: a `StreamSource`, or the name of a registered one; None for the view's source.
        batch: how long messages are gathered for one write: most of the time from an event to its online value.
        until_idle: end when no message has come for so long; None to go on until interrupted.
        watch: called about once a second, and at the end, with what was done so far and how many messages wait.
        stop: such as a `threading.Event`, which another thread sets for this to end after the batch in hand.

    Raises:
        UnknownReferenceError: there is no such view or stream.
        SourceError: no stream is passed, and the view's source is none; or its SQL reads something else, or its schema
            can't be read.
        SchemaError: the messages that its schema describes make no rows of the view.
        ConfigurationError: the stream's URL makes no sense, or the history's back-end can't keep positions.
        StreamError: the broker doesn't answer, or nothing of what it has becomes rows.
        OnlineStoreError: all is in history, but not online; `materialize` brings it.
        OfflineStoreError, RegistryError: as in `write`.
    """
    from fs_core.streams.ingest import Ingestion
    from fs_core.streams.open import named, open_consumer
    from fs_core.streams.rows import Reader

    target = store.view(view)
    source = store.registry.stream(stream) if isinstance(stream, str) else stream or target.source
    if not isinstance(source, StreamSource):
        raise SourceError(f"view {target.ref!r} has no stream for a source. Pass one: a StreamSource, or its name.")
    seconds = _seconds(batch, "batch")
    idle = None if until_idle is None else _seconds(until_idle, "until_idle")
    with named(source):
        reader = Reader(target, source, Path(store.directory))
        consumer = open_consumer(source, group=f"fs_core.{store.registry.project}.{target.storage_name}")
        try:
            return Ingestion(consumer, reader, _target(store, target), watch).run(
                batch=seconds, until_idle=idle, stop=stop
            )
        finally:
            consumer.close()


def _seconds(duration: timedelta | str, what: str) -> float:
    return duration_micros(parse_duration(duration, what)) / 10**6


def _target(store: Resources, view: FeatureView) -> Target:
    """Return where a view's rows go."""
    from fs_core.streams.ingest import Target

    offline = store.offline
    if not isinstance(offline, PositionedHistory):
        raise ConfigurationError(f"{offline!r} can't keep how far a stream was taken, so ingest can't use it.")

    def positions(partitions: Sequence[str]) -> Mapping[str, int | None]:
        return offline.positions(view, partitions)

    def catch_up() -> None:
        if view.online and offline.snapshot(view) != EMPTY:
            materialize(store, view)

    def append(rows: pa.Table, progress: Progress, now: int) -> Callable[[], None]:
        sent_by = delivery(store, view) if view.online else None  # before the rows are in history
        written = numbered(store, view, rows, pushed=True)
        offline.append_from(view, written, progress)
        return partial(deliver, store, view, written, now, sent_by)

    def settle() -> None:
        if isinstance(offline, PushedHistory):
            offline.settle()

    quarantine = partial(into_quarantine, store, view, pushed=True)
    return Target(positions, append, settle, quarantine, catch_up, store._clock.now)
