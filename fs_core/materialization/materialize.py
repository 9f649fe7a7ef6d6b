"""Filling the online store: from history by `materialize`, from live rows by `push`."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import OfflineStoreError, OnlineStoreError
from fs_core.materialization import events, recent
from fs_core.materialization.retract import Delivery
from fs_core.materialization.run_writer import RunWriter
from fs_core.materialization.watermark import Progress, ViewProgress
from fs_core.online.contract import DividedStore, EvictingStore
from fs_core.online.row.codec import RowCodec
from fs_core.rule import SEQ
from fs_core.runtime.progress_bar import progress as shown_progress
from fs_core.runtime.threads import submit
from fs_core.values.times import Clock

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView
    from fs_core.offline.contract import OfflineStore, Snapshot, Watermark, Winners
    from fs_core.online.contract import OnlineRows, OnlineStore

log = logging.getLogger("fs_core")

BATCH_ROWS = 50_000
"""Rows packed and sent at a time: bounds memory, and what a run that is cut off does again."""

_COLLECTING_MICROS = 86_400_000_000
_BATCH_BYTES = 16 * 2**20  # of rows as history has them, from which on a batch takes no more of them


class Missing(Protocol):
    """What a run has to send."""

    @property
    def watermark(self) -> Watermark:
        """What an online store that took it all has reached."""
        ...


M = TypeVar("M", bound=Missing)


class Runner(Protocol[M]):
    """Does the runs of a view: finds what is missing online, and sends it."""

    def missing(
        self, until: int, since: Watermark | None, snapshot: Snapshot | None = None, after: int | None = None
    ) -> M:
        """Return what belongs online at a moment and isn't covered by earlier runs.

        Args:
            until: the moment, microseconds.
            since: what is covered.
            snapshot: the state to read (default: the newest).
            after: the last seq that a run which was cut off has sent.

        Raises:
            OfflineStoreError: the state is no longer kept.
        """
        ...

    def send(self, missing: M, progress: Progress, kept: ViewProgress) -> tuple[int, int]:
        """Send it, and keep that it is done; return how many rows were sent and taken.

        Args:
            missing: what `missing` returned.
            progress: where the run stands.
            kept: where that is kept.
        """
        ...


@dataclass(frozen=True)
class Materialized:
    """What one `materialize` did for one view.

    Attributes:
        view: the view's reference with its version.
        rows: entities whose row was sent; of a view with windows, events.
        applied: how many of them were newer than what the online store held; of a view with windows, how many
            entities' values have changed.
        seconds: how long it took.
    """

    view: str
    rows: int
    applied: int
    seconds: float


def materialize(
    view: FeatureView,
    offline: OfflineStore,
    online: OnlineStore,
    *,
    until: int | None = None,
    rebuild: bool = False,
    now: Callable[[], int] | None = None,
    runner: Runner[Any] | None = None,
) -> Materialized:
    """Bring one view's online rows to the moment `until`; to rebuild, from nothing.

    What to send follows from what was *written* and what *became available* since the last time, which
    the online store itself remembers: when it is emptied, it forgets, and everything is sent again.
    How far a run has come is kept there too, so one that was cut off is finished before the next begins.
    Repeating is harmless, and so are several runs at once. When entities are forgotten meanwhile, the run takes
    back what it has sent of them, and ends; when it dies before it can, the next one compares every row.

    Args:
        view: whose rows.
        offline: history.
        online: the online store.
        until: the moment, microseconds; by default the present one, to rebuild the one after the rows were dropped, so
            that rows which were pushed until then come back.
        rebuild: drop the online rows first.
        now: returns the present moment, microseconds; by default the system's.
        runner: finds and sends the rows; by default this process.

    Raises:
        NotOnlineError: the view is not declared online.
        OnlineStoreError: the store can't take the rows, or entities were forgotten or the view dropped meanwhile;
            nothing is marked as done but what it took, and of a dropped view nothing is left. To rebuild, nothing is
            dropped where it, or a part of it, refuses writes.
    """
    view.require_online()
    start = time.perf_counter()
    with _dropped(view, online) if rebuild else nullcontext():
        now = now or Clock().now
        runner = runner or _LocalRunner(view, offline, online, now)
        rows, applied = _bring(view, offline, online, now() if until is None else until, now, runner)
    done = Materialized(view.ref, rows, applied, time.perf_counter() - start)
    log.info("materialized %s: %d rows, %d applied, %.2f s", done.view, done.rows, done.applied, done.seconds)
    return done


@contextmanager
def _dropped(view: FeatureView, online: OnlineStore) -> Iterator[None]:
    """Drop a view's online rows if the store, or each of its parts, takes a write now; say so where it stays empty."""
    name = view.storage_name
    held = online.watermark(name)
    if held is None:
        ViewProgress(view, online)  # writes that a generation begins
    else:
        online.swap_watermark(name, held, held)
    if isinstance(online, DividedStore):
        online.refuse_unready()
    try:
        online.drop(name)
        yield
    except BaseException as error:
        error.add_note(f"The online rows of {view.ref} were dropped; reads find nothing until materialize succeeds.")
        raise


def _bring(
    view: FeatureView,
    offline: OfflineStore,
    online: OnlineStore,
    until: int,
    now: Callable[[], int],
    runner: Runner[Any],
) -> tuple[int, int]:
    """Send what is missing online; return how many rows were sent and taken."""
    kept = ViewProgress(view, online)
    warn_of_eviction(view, online)
    if (before := kept.progress).suspects:
        _look_through(view, offline, online, now)
        kept.clear_suspects(before)
    rows = applied = 0
    for missing, progress in _runs(view, kept, until, runner):
        sent, took = runner.send(missing, progress, kept)
        rows, applied = rows + sent, applied + took
    if view.aggregations or view.online_history is not None:
        _collect(view, online, kept, until)
    return rows, applied


def _collect(view: FeatureView, online: OnlineStore, kept: ViewProgress, until: int) -> None:
    """Once a day leave out of all values what nobody asks for any more, also where nothing comes any more."""
    last = kept.progress.collected
    if last is not None and until < last + _COLLECTING_MICROS:
        return
    if last is not None:  # the first run brings nothing old
        since = recent.horizon(view, until)
        if view.aggregations or since is None:
            shorter = events.collect(view, online, until)
        else:
            shorter = recent.collect(view, online, since)
        log.info("collected what of %s nobody asks for any more: %d values are shorter", view.ref, shorter)
    kept.mark_collected(until)


def _runs(view: FeatureView, kept: ViewProgress, until: int, runner: Runner[M]) -> Iterator[tuple[M, Progress]]:
    """Yield what is left of a run that was cut off, if there is one, then the run to `until`; and where each stands."""
    left = kept.progress
    if left.run is not None:
        try:
            missing = runner.missing(left.run.until, left.reached, left.run.snapshot, left.after)
        except OfflineStoreError as error:  # its state of history is no longer kept: the next run does it all
            log.warning("materialize %s: can't go on where it was cut off, starts again: %s", view.ref, error)
        else:
            log.info("materialize %s: goes on with a run that was cut off", view.ref)
            yield missing, left
    reached = kept.progress.reached
    missing = runner.missing(until, reached)
    yield missing, Progress(kept.progress.generation, reached, missing.watermark)


def _look_through(view: FeatureView, offline: OfflineStore, online: OnlineStore, now: Callable[[], int]) -> None:
    """Delete what a run that died may have brought online of entities that were forgotten."""
    from fs_core.materialization.verify import verify

    log.warning(
        "materialize %s: entities were forgotten while a run was under way that may have died; comparing every row "
        "with history first",
        view.ref,
    )
    verify(view, offline, online, now=now, repair=True, evidence=0)


@dataclass(frozen=True)
class _LocalRunner:
    """Does runs of a view in this process."""

    view: FeatureView
    offline: OfflineStore
    online: OnlineStore
    now: Callable[[], int]

    def missing(
        self, until: int, since: Watermark | None, snapshot: Snapshot | None = None, after: int | None = None
    ) -> Winners:
        """See `Runner.missing`; events are all sent again, as they come by entity."""
        if self.view.aggregations:
            return events.live(self.view, self.offline, until=until, since=since, snapshot=snapshot)
        horizon = recent.horizon(self.view, until)
        return self.offline.winners(self.view, until=until, since=since, snapshot=snapshot, after=after, recent=horizon)

    def send(self, missing: Winners, progress: Progress, kept: ViewProgress) -> tuple[int, int]:
        """See `Runner.send`."""
        run = _ViewRun(self.view, self.offline, self.online, kept, progress, self.now)
        delivery = Delivery(self.view, self.offline, self.online, self.now, generation=progress.generation, run=kept)
        with delivery.settled(run.unsettled):
            return run.send(missing)


class _ViewRun:
    """One run of a view: sends rows, and keeps how far it has come."""

    def __init__(
        self,
        view: FeatureView,
        offline: OfflineStore,
        online: OnlineStore,
        kept: ViewProgress,
        progress: Progress,
        now: Callable[[], int],
    ) -> None:
        assert progress.run is not None
        self._view = view
        self._kept, self._progress = kept, progress
        self._run_writer = RunWriter(view, offline, online, progress, now)
        self._unsettled: deque[OnlineRows] = deque()

    def unsettled(self) -> Sequence[OnlineRows]:
        """Return what was sent since progress was kept: who forgets or drops later finds all that was sent before."""
        return tuple(self._unsettled)

    def send(self, winners: Winners) -> tuple[int, int]:
        """Send rows; return how many were sent and taken."""
        rows = applied = 0
        if winners.total:
            self._kept.keep(self._progress)  # who forgets entities from now on knows of this run
        sent = self._sent(winners.rows)
        with shown_progress(f"materialize {self._view.name}", winners.total) as advance, closing(sent):
            for last, taken, count in sent:
                rows, applied = rows + count, applied + taken
                if rows < winners.total:
                    self._kept.keep(self._progress.taken(last))
                    self._unsettled.popleft()
                advance(count)
        self._kept.keep(self._progress.finished())
        return rows, applied

    def _sent(self, batches: Iterable[pa.RecordBatch]) -> Generator[tuple[int | None, int, int]]:
        """Offer rows; yield for each batch its last seq, how many rows the store took, and how many there were.

        Events come by entity, not by seq: then it is None.

        The next batch is read, looked up and packed while the store works on one.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="fs-online-write") as sender:
            before = None
            for part in tables(batches):
                rows = packed_rows(self._view, part)
                offer = self._run_writer.offer(rows.keys)
                self._unsettled.append(rows)
                write = submit(sender, offer, rows)
                if before is not None:
                    yield before[0], before[1].result(), before[2]
                last = None if self._view.aggregations else part[SEQ][-1].as_py()
                before = last, write, part.num_rows
            if before is not None:
                yield before[0], before[1].result(), before[2]


def send(
    view: FeatureView, online: OnlineStore, rows: pa.Table, *, now: int, offline: OfflineStore | None = None
) -> int:
    """Pack rows and offer them to the online store; return how many it took: newer rows, or values with new events.

    Args:
        view: whose rows.
        online: the online store.
        rows: in `history_schema(view)`.
        now: the present moment, microseconds, from which the view's `online_history` counts.
        offline: history, for a view with windows.
    """
    if view.aggregations:
        assert offline is not None
        return sum(events.add(view, offline, online, part, now) for part in packed(view, rows))
    since = recent.horizon(view, now)
    if since is not None:
        return sum(recent.write(view, online, part, since) for part in packed(view, rows))
    return sum(online.write(view.storage_name, part) for part in packed(view, rows))


def packed(view: FeatureView, rows: pa.Table) -> Iterator[OnlineRows]:
    """Yield rows as `send` sends them."""
    for start in range(0, rows.num_rows, BATCH_ROWS):
        yield packed_rows(view, rows.slice(start, BATCH_ROWS))


def packed_rows(view: FeatureView, rows: pa.Table) -> OnlineRows:
    """Return rows of history as the online store takes them, all at once."""
    return events.packed(view, rows) if view.aggregations else RowCodec(view).encode(rows)


def tables(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield a stream's rows in tables of `BATCH_ROWS` rows, fewer where they are wide."""
    held, rows, size = list[pa.RecordBatch](), 0, 0
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            part = batch.slice(start, BATCH_ROWS)
            if held and (rows + part.num_rows > BATCH_ROWS or size >= _BATCH_BYTES):
                yield pa.Table.from_batches(held)
                held, rows, size = [], 0, 0
            held, rows, size = [*held, part], rows + part.num_rows, size + part.nbytes
    if held:
        yield pa.Table.from_batches(held)


_warned: set[str] = set()  # of which stores, in this process; a forked child needn't repeat its parent's warning


def warn_of_eviction(view: FeatureView, online: OnlineStore) -> None:
    """Say in the log, once a process, where an online store's server may delete rows of a view by itself."""
    address = repr(online)
    if address in _warned or not isinstance(online, EvictingStore):
        return
    try:
        policy = online.eviction(expiring=view.ttl is not None)
    except OnlineStoreError as error:  # who may ask nothing of the kind serves rows all the same
        log.debug("unknown whether %s deletes rows by itself: %s", address, error)
        return
    if policy is None:
        return
    _warned.add(address)
    log.warning(
        "%s deletes rows by itself when its memory is full (maxmemory-policy %s): reads then say of them that they are "
        "missing, without an error, and materialize doesn't bring them back; verify_online(repair=True) does. Set "
        "maxmemory-policy noeviction, with which a full server refuses new rows instead and materialize says so. "
        "A volatile-* policy is no way out: rows of views with a ttl carry an expiry.",
        address,
        policy,
    )
