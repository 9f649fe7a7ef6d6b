"""History in Delta tables: atomic appends from any number of processes, snapshots, open Parquet files.

One table for each meaning of a view. Rows lie in partitions by month of event time, sorted by key and
availability, which is the order in which they are searched.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
from deltalake.exceptions import DeltaError

from fs_core.definitions import FeatureView
from fs_core.errors import OfflineStoreError
from fs_core.offline.contract import EMPTY, Erased, Portions, Progress, Snapshot, Watermark, Winners
from fs_core.offline.delta.appending import COMMIT_SECONDS, attempts
from fs_core.offline.delta.erasure import Doomed, count_traces, delete_holders, doomed
from fs_core.offline.delta.failures import as_store_error, refuse_unusable
from fs_core.offline.delta.layout import as_declared, by_recency
from fs_core.offline.delta.leftovers import BRIEFLY, remove_leftovers
from fs_core.offline.delta.locks import in_turn
from fs_core.offline.delta.log import LastWrite, last_write, open_table
from fs_core.offline.delta.merging import merge
from fs_core.offline.delta.queries.unwritten import unwritten
from fs_core.offline.delta.queries.verify import Check, doubled_rows
from fs_core.offline.delta.queries.winners import Candidates, rows_sql, winners_among
from fs_core.offline.delta.rewriting import FILE_BYTES, checkpoint
from fs_core.offline.delta.table import PartsError, ViewTable
from fs_core.offline.duckdb import connect, quoted
from fs_core.offline.objects.lease import Confirm
from fs_core.offline.objects.path import Location, exist, located
from fs_core.offline.report import FINDINGS, HistoryReport
from fs_core.offline.search.engine import AsOfEngine, apply_rule, column_types
from fs_core.offline.search.sql import PlainEngine
from fs_core.rule import EVENT_TIME, SEQ, history_schema
from fs_core.values.times import MICROSECONDS

T = TypeVar("T")

log = logging.getLogger("fs_core")

_PORTIONS = 256  # of a view's files at most; each is read by a task of its own


class DeltaOfflineStore:
    """History under a directory, or below a URL of an object store. See `OfflineStore` for what is promised.

    The Delta library doesn't survive a fork: a process forked after the first use of history gets
    an `OfflineStoreError`; start such processes with spawn or forkserver.

    Args:
        directory: where the tables lie, a path or a URL; made with the first write.
        engine: what searches them.

    Raises:
        ConfigurationError: the directory's name holds a character that Delta tables can't lie under.
    """

    def __init__(self, directory: str | Location, engine: AsOfEngine | None = None) -> None:
        where = located(directory) if isinstance(directory, str) else directory
        self._directory: Location = where.absolute() if isinstance(where, Path) else where
        self._engine = engine or PlainEngine()
        self._tables: dict[str, ViewTable] = {}
        self._looked_at: set[str] = set()
        refuse_unusable("history", self._directory)

    def __repr__(self) -> str:
        return f"DeltaOfflineStore({str(self._directory)!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": {}, "_looked_at": set()}

    def append(self, view: FeatureView, rows: pa.Table) -> Snapshot:
        """See `OfflineStore.append`."""
        table = self._table(view)
        with as_store_error(view, f"can't append to its history at {table.path}"):
            return table.append(rows)

    def append_parts(self, view: FeatureView, parts: Iterable[pa.Table]) -> Snapshot:
        """See `StreamedHistory.append_parts`."""
        table = self._table(view)
        try:
            with as_store_error(view, f"can't append to its history at {table.path}"):
                return table.append_parts(iter(parts))
        except PartsError as error:
            raise error.failure from None

    def positions(self, view: FeatureView, partitions: Sequence[str]) -> dict[str, int | None]:
        """See `PositionedHistory.positions`."""
        table = self._table(view)
        with as_store_error(view, f"can't open its history at {table.path}"):
            return table.positions(partitions)

    def append_from(self, view: FeatureView, rows: pa.Table, progress: Progress) -> None:
        """See `PositionedHistory.append_from`."""
        table = self._table(view)
        with as_store_error(view, f"can't append to its history at {table.path}"):
            is_due = table.append_from(rows, progress)
        if is_due:
            self._settle(view)

    def push(self, view: FeatureView, rows: pa.Table) -> None:
        """See `PushedHistory.push`."""
        table = self._table(view)
        with as_store_error(view, f"can't append to its history at {table.path}"):
            is_due = table.push(rows)
        if is_due:
            self._settle(view)

    def settle(self) -> None:
        """See `PushedHistory.settle`."""
        for table in tuple(self._tables.values()):
            if table.has_added():
                self._settle(table.view)

    def _settle(self, view: FeatureView) -> None:
        try:
            self.snapshot(view)
        except OfflineStoreError as error:
            log.warning("what came is safe, but beside the table until it is read: %s", error)

    def reserve(self, view: FeatureView, count: int, *, at_least: int = 0) -> int:
        """See `OfflineStore.reserve`."""
        table = self._table(view)
        with as_store_error(view, f"can't number rows of its history at {table.path}"):
            return table.reserve(count, at_least, lambda: self._greatest_seq(view))

    def _greatest_seq(self, view: FeatureView) -> int:
        def greatest(files: Sequence[str]) -> int:
            if not files:
                return -1
            with as_store_error(view, "can't read its history"), connect() as connection:
                query = f"SELECT coalesce(max({SEQ}), -1) FROM {rows_sql(view, files, 'true', [SEQ])}"
                return int(connection.execute(query).fetchall()[0][0])

        return self._steadily(view, None, greatest)

    def snapshot(self, view: FeatureView) -> Snapshot:
        """See `OfflineStore.snapshot`."""
        table = self._table(view)
        with as_store_error(view, f"can't open its history at {table.path}"):
            return table.newest()

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
            with as_store_error(view, "can't search its history"):
                return apply_rule(self._engine, view, files, spine, columns)

        found = self._steadily(view, snapshot, search)
        types = column_types(view)
        return as_declared(found, {**{name: types[name] for name in columns}, EVENT_TIME: MICROSECONDS})

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
        happened: int | None = None,
    ) -> Winners:
        """See `OfflineStore.winners`."""
        while True:
            state = self.snapshot(view) if snapshot is None else snapshot
            try:
                return self._winners(view, state, until, since, after, entities, recent, happened)
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
        happened: int | None,
    ) -> Winners:
        candidates = self._candidates(view, state, since, until)
        rows, total = winners_among(candidates, after, recent, happened, entities)
        return Winners(rows, total, Watermark(state, until))

    def _candidates(self, view: FeatureView, state: Snapshot, since: Watermark | None, until: int) -> Candidates:
        files = self._files(view, state)
        old = set(self._files_if_kept(view, since.snapshot)) if since else set()
        new, seen = [f for f in files if f not in old], [f for f in files if f in old]
        return Candidates(view, new, seen, since=since.until if since else None, until=until)

    def portions(
        self, view: FeatureView, *, until: int, since: Watermark | None = None, snapshot: Snapshot | None = None
    ) -> Portions:
        """See `DividedHistory.portions`: each is some files of months that follow one another."""
        state = self.snapshot(view) if snapshot is None else snapshot
        return Portions(self._candidates(view, state, since, until).divided(_PORTIONS), Watermark(state, until))

    def winners_in(
        self, portion: Candidates, *, after: int | None = None, recent: int | None = None, happened: int | None = None
    ) -> pa.RecordBatchReader:
        """See `DividedHistory.winners_in`."""
        return winners_among(portion, after, recent, happened)[0]

    def unwritten(self, view: FeatureView, rows: pa.Table) -> pa.Table:
        """See `OfflineStore.unwritten`."""

        def compare(files: Sequence[str]) -> pa.Table:
            with as_store_error(view, "can't read its history"):
                return unwritten(view, rows, files)

        return self._steadily(view, None, compare)

    @contextmanager
    def comparing(self, view: FeatureView) -> Iterator[None]:
        """See `ComparedHistory.comparing`."""
        table = self._table(view)
        with in_turn(view.ref, table.locks, lambda: as_store_error(view, f"can't lock its history at {table.path}")):
            yield

    def newest_event(self, view: FeatureView) -> int | None:
        """See `OfflineStore.newest_event`."""

        def newest(files: Sequence[str]) -> pa.Table:
            latest = by_recency(files)[0] if files else []
            sql = f"SELECT max({EVENT_TIME}) AS {EVENT_TIME} FROM {rows_sql(view, latest, 'true', [EVENT_TIME])}"
            return self._run(view, sql if latest else None, pa.schema([(EVENT_TIME, MICROSECONDS)]))

        found = self._steadily(view, None, newest)[EVENT_TIME].cast(pa.int64()).to_pylist()
        return found[0] if found else None

    def compact(self, view: FeatureView) -> Snapshot:
        """See `OfflineStore.compact`. Files of earlier states stay; those that no state names are removed."""
        table = self._table(view)
        if self.snapshot(view) == EMPTY:
            return EMPTY
        with self._rewriting(view, "can't compact its history") as confirm:
            remove_leftovers(table.path, table.locks, BRIEFLY)
            self._notice_doubled(view)
            for attempt in attempts():
                with attempt:
                    opened = open_table(table.path)
                    merge(opened, table.log.files(int(opened.version())), FILE_BYTES, confirm)
            checkpoint(opened)
            state = self.snapshot(view)
            self._engine.prepare(view, self._files(view, state))
        return state

    def _notice_doubled(self, view: FeatureView) -> None:
        """Look once whether an earlier release has doubled rows."""
        if view.storage_name in self._looked_at:
            return
        with connect() as connection:
            rows = doubled_rows(connection, self._files(view, None))
        if rows:
            log.warning(
                "%s: %d rows of its history have the seq of another row, as two compactions at once left them in an "
                "earlier release: counts and sums over history are wrong. See store.verify_history(%r), and mend it by "
                "repair=True.",
                view.ref,
                rows,
                view.ref,
            )
        self._looked_at.add(view.storage_name)

    def last_write(self, view: FeatureView) -> LastWrite | None:
        """Return what the last write brought, without reading its rows; None if nothing, or if the log doesn't say."""
        return last_write(self._table(view).path, self.snapshot(view))

    def erase(self, view: FeatureView, entities: pa.Table) -> Erased:
        """See `OfflineStore.erase`."""
        table, state = self._table(view), self.snapshot(view)
        with as_store_error(view, f"can't erase from its history at {table.path}"):
            table.forget_damaged()
        if state == EMPTY:
            return Erased(0, 0)
        with self._rewriting(view, "can't erase from its history"), doomed(entities) as whom:
            rows = self._erase_from_newest(view, whom)
            files = delete_holders(whom, table, lambda: self._files(view, None))
            self._engine.forget(view)
        return Erased(rows, files)

    def _erase_from_newest(self, view: FeatureView, whom: Doomed) -> int:
        """Commit states without rows of entities until the newest has none; return how many there were.

        A minute is enough: whoever goes on writing rows of the same entities isn't waited for. `traces` finds them.
        """
        rows, ends = 0, time.monotonic() + COMMIT_SECONDS
        clean = set[str]()
        while time.monotonic() < ends:  # again, where some were appended meanwhile
            for attempt in attempts():
                with attempt:
                    state = self.snapshot(view)
                    erased = whom.erase(view, self._table(view).path, state, self._files(view, state), clean)
            if not erased:
                break
            rows += erased
        return rows

    def verify(self, view: FeatureView, *, repair: bool = False, evidence: int = 100) -> HistoryReport:
        """See `OfflineStore.verify`."""
        if self.snapshot(view) == EMPTY:
            return HistoryReport([view.ref], 0, 0, {}, FINDINGS.empty_table(), 0, 0.0)

        def newest() -> tuple[Snapshot, list[str]]:
            state = self.snapshot(view)
            return state, self._files(view, state)

        with self._rewriting(view, "can't verify its history"):
            check = Check(view, self._table(view).path, newest, self._engine, evidence)
            return check.report(attempts() if repair else None)

    def traces(self, view: FeatureView, entities: pa.Table) -> int:
        """See `OfflineStore.traces`."""
        table = self._table(view)
        if self.snapshot(view) == EMPTY:
            return 0
        with self._rewriting(view, "can't read its history"), doomed(entities) as whom:
            return count_traces(whom, table)

    def _table(self, view: FeatureView) -> ViewTable:
        name = view.storage_name
        return self._tables.get(name) or self._tables.setdefault(name, ViewTable(view, self._directory / name))

    @contextmanager
    def _rewriting(self, view: FeatureView, what: str) -> Iterator[Confirm]:
        """Be the only one who rewrites or deletes files of a view; remove those that were written for nothing."""
        table = self._table(view)
        with as_store_error(view, f"{what} at {table.path}"), table.locks.rewriting() as confirm:
            try:
                yield confirm
            except (DeltaError, duckdb.Error, OSError, pa.ArrowException):
                with suppress(OSError, ValueError):
                    remove_leftovers(table.path, table.locks, BRIEFLY)  # on a full disk, others need the room
                raise

    def _files(self, view: FeatureView, snapshot: Snapshot | None) -> list[str]:
        """Return the data files of a state, by default the newest."""
        table, at = self._table(view), "" if snapshot is None else f" at state {snapshot}"
        with as_store_error(view, f"can't open its history at {table.path}{at}"):
            newest = table.newest() if snapshot is None else table.log.newest()
            state = newest if snapshot is None else snapshot
            files = [] if state == EMPTY else table.log.files(state)
        if state != newest and not exist(files):
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
                with as_store_error(view, "can't read its history"):
                    return read(files)
            except OfflineStoreError:
                before, files = files, self._files(view, snapshot)
                if files == before:
                    raise

    def _run(self, view: FeatureView, sql: str | None, schema: pa.Schema) -> pa.Table:
        if sql is None:
            return schema.empty_table()
        with as_store_error(view, "can't read its history"), connect() as connection:
            found = connection.sql(sql).to_arrow_table()
        return as_declared(found, {f.name: f.type for f in schema}).cast(schema)
