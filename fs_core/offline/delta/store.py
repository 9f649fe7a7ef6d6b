"""History in Delta tables: atomic appends from any number of processes, snapshots, open Parquet files.

One table for each meaning of a view. Rows lie in partitions by month of event time, sorted by key and
availability, which is the order in which they are searched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
from deltalake import PostCommitHookProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from fs_core.definitions import FeatureView
from fs_core.errors import ConfigurationError, OfflineStoreError
from fs_core.offline.contract import EMPTY, Erased, Snapshot, Watermark, Winners
from fs_core.offline.delta.erasure import (
    holders,
    is_abandoned,
    remove_attempt,
    scrub_log,
    searched,
    seqs_of,
    unnamed_holders,
)
from fs_core.offline.delta.layout import MONTH, as_declared, by_recency, lay_out
from fs_core.offline.delta.log import DeltaLog, LastWrite, last_write, lost_a_checkpoint, open_table, remove_leftovers
from fs_core.offline.delta.rewriting import replace_without
from fs_core.offline.delta.unwritten import unwritten
from fs_core.offline.delta.winners import Candidates, choose, find_winners, rows_sql, stream_winners
from fs_core.offline.duckdb import connect, quoted
from fs_core.offline.search.engine import AsOfEngine, apply_rule
from fs_core.offline.search.sql import PlainEngine
from fs_core.rule import EVENT_TIME, SEQ, history_schema
from fs_core.runtime.per_process import this_process
from fs_core.values.times import MICROSECONDS

T = TypeVar("T")

_COMMIT_SECONDS = 60.0  # how long an append tries again after other writers won the race
_TABLE = {
    # Delta forgets states older than 30 days unless told otherwise; a training set is recreated from any.
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    # Opening replays the log from the last checkpoint: with one every 100 states, an append takes 2.5 times as long.
    "delta.checkpointInterval": "10",
    # Least and greatest values are somebody's data: log entries that tell them are mended when a person is forgotten,
    # and a writer that is about to repeat them in a checkpoint can't be.
    "delta.checkpoint.writeStatsAsJson": "false",
}
_HOOKS = PostCommitHookProperties(cleanup_expired_logs=False)
_FILE_BYTES = 256 << 20  # of a compacted file, about
_UNUSABLE = set("[]^|%\\")  # the Delta library fails on these, or writes to another directory
_delta_processes: set[object] = set()  # the process in which the Delta library runs, once it does


class DeltaOfflineStore:
    """History under a directory. See `OfflineStore` for what is promised.

    The Delta library doesn't survive a fork: a process forked after the first use of history is told
    so by an `OfflineStoreError`; start such processes with spawn or forkserver.

    Args:
        directory: where the tables lie; made with the first write.
        engine: what searches them.

    Raises:
        ConfigurationError: the directory's name holds a character that Delta tables can't lie under.
    """

    def __init__(self, directory: str | Path, engine: AsOfEngine | None = None) -> None:
        self._directory = Path(directory).absolute()
        self._engine = engine or PlainEngine()
        self._logs: dict[str, DeltaLog] = {}
        unusable = "".join(sorted(_UNUSABLE & set(str(self._directory))))
        if unusable:
            raise ConfigurationError(
                f"history can't lie under {str(self._directory)!r}: Delta tables don't work below a directory with "
                f"{unusable!r} in its name. Choose another directory."
            )

    def __repr__(self) -> str:
        return f"DeltaOfflineStore({str(self._directory)!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_logs": {}}

    def append(self, view: FeatureView, rows: pa.Table) -> Snapshot:
        """See `OfflineStore.append`."""
        place = self._place(view)
        with _as_store_error(view, f"can't append to its history at {place}"):
            laid_out, began = lay_out(view, rows), time.time()
            for attempt in _attempts():
                with attempt:
                    try:
                        _write(place, laid_out)
                    except DeltaError as error:
                        if not _lost_a_race(error) or not remove_attempt(place, laid_out, began):
                            raise
        return self.snapshot(view)

    def snapshot(self, view: FeatureView) -> Snapshot:
        """See `OfflineStore.snapshot`."""
        with _as_store_error(view, f"can't open its history at {self._place(view)}"):
            return self._log(view).newest()

    def read(
        self, view: FeatureView, *, snapshot: Snapshot | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """See `OfflineStore.read`."""
        left_out = set() if columns is None else set(view.stored).difference(columns)
        schema = pa.schema([field for field in history_schema(view) if field.name not in left_out])
        names = ", ".join(map(quoted, schema.names))

        def rows(files: Sequence[str]) -> pa.Table:
            sql = f"SELECT {names} FROM {rows_sql(view, files, 'true')} ORDER BY {SEQ}"
            return self._run(view, sql if files else None, schema)

        return self._steadily(view, snapshot, rows)

    def as_of(
        self, view: FeatureView, spine: pa.Table, columns: Sequence[str], *, snapshot: Snapshot | None = None
    ) -> pa.Table:
        """See `OfflineStore.as_of`."""

        def search(files: Sequence[str]) -> pa.Table:
            with _as_store_error(view, "can't search its history"):
                return apply_rule(self._engine, view, files, spine, columns)

        found = self._steadily(view, snapshot, search)
        wanted = {**{name: view.features[name] for name in columns}, EVENT_TIME: MICROSECONDS}
        return as_declared(found, wanted)

    def winners(
        self,
        view: FeatureView,
        *,
        until: int,
        since: Watermark | None = None,
        snapshot: Snapshot | None = None,
        after: int | None = None,
        entities: pa.Table | None = None,
        recent: int | None = None,
    ) -> Winners:
        """See `OfflineStore.winners`."""
        while True:
            state = self.snapshot(view) if snapshot is None else snapshot
            try:
                return self._winners(view, state, until, since, after, entities, recent)
            except OfflineStoreError:  # as in `_steadily`
                if snapshot is not None or self.snapshot(view) == state:
                    raise

    def _winners(
        self,
        view: FeatureView,
        state: Snapshot,
        until: int,
        since: Watermark | None,
        after: int | None,
        entities: pa.Table | None,
        recent: int | None,
    ) -> Winners:
        files = self._files(view, state)
        old = set(self._files_if_kept(view, since.snapshot)) if since else set()
        new, seen = [f for f in files if f not in old], [f for f in files if f in old]
        if not files:
            return Winners(pa.RecordBatchReader.from_batches(history_schema(view), []), 0, Watermark(state, until))
        with _as_store_error(view, "can't read its history"):
            connection = connect()
            every = Candidates(view, new, seen, since=since.until if since else None, until=until)
            candidates = choose(connection, every, entities)
            total = find_winners(connection, candidates, after, recent)
        rows = self._streamed(connection, candidates)
        return Winners(pa.RecordBatchReader.from_batches(history_schema(view), rows), total, Watermark(state, until))

    def _streamed(self, connection: duckdb.DuckDBPyConnection, candidates: Candidates) -> Iterator[pa.RecordBatch]:
        with _as_store_error(candidates.view, "can't read its history"), connection:
            yield from stream_winners(connection, candidates)

    def unwritten(self, view: FeatureView, rows: pa.Table) -> pa.Table:
        """See `OfflineStore.unwritten`."""

        def compare(files: Sequence[str]) -> pa.Table:
            with _as_store_error(view, "can't read its history"):
                return unwritten(view, rows, files)

        return self._steadily(view, None, compare)

    def newest_event(self, view: FeatureView) -> int | None:
        """See `OfflineStore.newest_event`."""

        def newest(files: Sequence[str]) -> pa.Table:
            latest = by_recency(files)[0] if files else []
            sql = f"SELECT max({EVENT_TIME}) AS {EVENT_TIME} FROM {rows_sql(view, latest, 'true', [EVENT_TIME])}"
            return self._run(view, sql if latest else None, pa.schema([(EVENT_TIME, MICROSECONDS)]))

        found = self._steadily(view, None, newest)[EVENT_TIME].cast(pa.int64()).to_pylist()
        return found[0] if found else None

    def compact(self, view: FeatureView) -> Snapshot:
        """See `OfflineStore.compact`. Files of earlier states stay; those that no state ever had are removed."""
        place = self._place(view)
        if self.snapshot(view) == EMPTY:
            return EMPTY
        with _as_store_error(view, f"can't compact its history at {place}"):
            for attempt in _attempts():
                with attempt:
                    open_table(place).optimize.compact(target_size=_FILE_BYTES, post_commithook_properties=_HOOKS)
            remove_leftovers(place)
            state = self.snapshot(view)
            self._engine.prepare(view, self._files(view, state))
        return state

    def last_write(self, view: FeatureView) -> LastWrite | None:
        """Return what the last write brought, without reading its rows; None if nothing, or if the log doesn't tell."""
        return last_write(self._place(view), self.snapshot(view))

    def erase(self, view: FeatureView, entities: pa.Table) -> Erased:
        """See `OfflineStore.erase`."""
        place = self._place(view)
        if self.snapshot(view) == EMPTY:
            return Erased(0, 0)
        with _as_store_error(view, f"can't erase from its history at {place}"):
            rows = self._erase_from_newest(view, entities)
            doomed = searched(place, lambda named, others: self._doomed(view, entities, named, others))
            scrub_log(place, doomed)
            for file in doomed:
                Path(file).unlink(missing_ok=True)
            self._engine.forget(view)
        return Erased(rows, len(doomed))

    def _doomed(self, view: FeatureView, entities: pa.Table, named: Sequence[str], others: Sequence[str]) -> list[str]:
        """Return those of some files that hold rows of entities and that no newest state and no writer needs."""
        kept = set(self._files(view, None))  # after the list was made: what is appended in between isn't on it
        doomed = [file for file in holders(named, entities) if file not in kept]
        return doomed + [file for file in unnamed_holders(others, entities) if is_abandoned(file)]

    def _erase_from_newest(self, view: FeatureView, entities: pa.Table) -> int:
        """Commit states without rows of entities until the newest has none; return how many there were.

        A minute is enough: whoever goes on writing rows of the same entities isn't waited for. `traces` tells of them.
        """
        rows, ends = 0, time.monotonic() + _COMMIT_SECONDS
        clean = set[str]()
        while time.monotonic() < ends:  # again, where some were appended meanwhile
            for attempt in _attempts():
                with attempt:
                    erased = self._erase_once(view, entities, clean)
            if not erased:
                break
            rows += erased
        return rows

    def _erase_once(self, view: FeatureView, entities: pa.Table, clean: set[str]) -> int:
        """Commit a state without the rows of entities that the newest has, in files not known to be clean."""
        state = self.snapshot(view)
        try:
            files = [file for file in self._files(view, state) if file not in clean]
            found = holders(files, entities)
            clean.update(set(files).difference(found))
            seqs = seqs_of(found, entities)
            if seqs:
                replace_without(self._place(view), state, found, seqs)
        except (duckdb.Error, OSError) as error:
            if self.snapshot(view) == state:
                raise
            raise CommitFailedError("another writer has deleted what was read") from error
        return len(seqs)

    def traces(self, view: FeatureView, entities: pa.Table) -> int:
        """See `OfflineStore.traces`."""
        place = self._place(view)
        if not place.exists():
            return 0
        with _as_store_error(view, f"can't read its history at {place}"):
            return searched(
                place,
                lambda named, others: len(seqs_of(named, entities)) + sum(unnamed_holders(others, entities).values()),
            )

    def _place(self, view: FeatureView) -> Path:
        return self._directory / view.storage_name

    def _log(self, view: FeatureView) -> DeltaLog:
        name = view.storage_name
        return self._logs.get(name) or self._logs.setdefault(name, DeltaLog(self._place(view)))

    def _files(self, view: FeatureView, snapshot: Snapshot | None) -> list[str]:
        """Return the data files of a state, by default the newest."""
        at = "" if snapshot is None else f" at state {snapshot}"
        with _as_store_error(view, f"can't open its history at {self._place(view)}{at}"):
            newest = self._log(view).newest()
            state = newest if snapshot is None else snapshot
            files = [] if state == EMPTY else self._log(view).files(state)
        if state != newest and not all(os.path.exists(file) for file in files):  # noqa: PTH110  # a tenth of the time
            raise OfflineStoreError(
                f"view {view.ref!r}: state {state} of its history can't be read any more: files that it needs are "
                "deleted, as they are when they held rows that had to be forgotten. What was made from that state "
                "can't be made again; make it anew from the state of today."
            )
        return files

    def _files_if_kept(self, view: FeatureView, snapshot: Snapshot) -> list[str]:
        """Return a state's files, none if it is no longer kept: then everything counts as new, which is safe."""
        try:
            return self._files(view, snapshot)
        except OfflineStoreError:
            return []

    def _steadily(self, view: FeatureView, snapshot: Snapshot | None, read: Callable[[Sequence[str]], T]) -> T:
        """Read the files of a state; where those of the newest are deleted meanwhile, to forget somebody, anew.

        Raises:
            OfflineStoreError: they can't be read, or not any more.
        """
        files = self._files(view, snapshot)
        while True:
            try:
                return read(files)
            except OfflineStoreError:
                before, files = files, self._files(view, snapshot)
                if files == before:
                    raise

    def _run(self, view: FeatureView, sql: str | None, schema: pa.Schema) -> pa.Table:
        if sql is None:
            return schema.empty_table()
        with _as_store_error(view, "can't read its history"), connect() as connection:
            found = connection.sql(sql).to_arrow_table()
        return as_declared(found, {f.name: f.type for f in schema}).cast(schema)


@contextmanager
def _as_store_error(view: FeatureView, what: str) -> Iterator[None]:
    """Turn what the libraries raise into an `OfflineStoreError` that names the view."""
    _refuse_fork(view)
    try:
        yield
    except (DeltaError, duckdb.Error, OSError, OverflowError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]  # Delta adds a stack trace
        if isinstance(error, FileNotFoundError) or "No files found" in reason:
            reason += ". Files are deleted when somebody is forgotten; if that was just now, repeat it."
        raise OfflineStoreError(f"view {view.ref!r}: {what}: {reason}") from error


def _refuse_fork(view: FeatureView) -> None:
    """Say in plain words what the Delta library would panic about."""
    _delta_processes.add(this_process())
    if len(_delta_processes) > 1:
        raise OfflineStoreError(
            f"view {view.ref!r}: this process was forked from one that had used history, and the Delta library "
            "doesn't survive a fork. Start the process with spawn or forkserver."
        )


def _attempts() -> Retrying:
    """Return attempts at a commit that other writers may win, for a minute, at random distances."""
    return Retrying(
        retry=retry_if_exception(_lost_a_race),
        wait=wait_random_exponential(multiplier=0.02, max=1.0),
        stop=stop_after_delay(_COMMIT_SECONDS),
        reraise=True,
    )


def _write(place: Path, rows: pa.Table) -> None:
    place.mkdir(parents=True, exist_ok=True)
    write_deltalake(
        str(place),
        rows,
        mode="append",
        partition_by=[MONTH],
        configuration=_TABLE,
        post_commithook_properties=_HOOKS,
    )


def _lost_a_race(error: BaseException) -> bool:
    """Whether another writer committed first, made the table at the same moment, or replaced its checkpoint."""
    made_twice = isinstance(error, DeltaError) and "already exists" in str(error)
    return isinstance(error, CommitFailedError) or made_twice or lost_a_checkpoint(error)
