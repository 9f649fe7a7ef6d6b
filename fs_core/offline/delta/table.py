"""The table of one view's history, as a process uses it: its log, what waits beside it, and its locks."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import pyarrow as pa
from deltalake.exceptions import DeltaError

from fs_core.definitions import FeatureView
from fs_core.errors import OfflineStoreError
from fs_core.offline.contract import OvertakenError, Progress, Snapshot
from fs_core.offline.delta.appending import Commit, append, fence, reserve
from fs_core.offline.delta.journal.journal import Journal
from fs_core.offline.delta.layout import lay_out
from fs_core.offline.delta.leftovers import BRIEFLY, remove_leftovers
from fs_core.offline.delta.locks import READ_ONLY, locks_of
from fs_core.offline.delta.log import DeltaLog
from fs_core.offline.delta.merging import merge_if_due
from fs_core.offline.objects.lease import ABANDONED
from fs_core.offline.objects.path import Location, ObjectPath

log = logging.getLogger("fs_core")

_BATCH_ROWS = 50_000  # of a stream, that the library has at a time; it holds several, and copies


class PartsError(Exception):
    """What was to be appended can't be read, by no fault of the table's.

    Args:
        failure: what reading it raised.
    """

    def __init__(self, failure: Exception) -> None:
        super().__init__(str(failure))
        self.failure = failure


class ViewTable:
    """A table and what belongs to it. Thread-safe; made once a process. What the libraries raise is raised.

    Args:
        view: whose history, by any version with the same meaning.
        path: where the table lies; made with the first write.
    """

    def __init__(self, view: FeatureView, path: Location) -> None:
        self.view, self.path = view, path
        self.locks = locks_of(path, lambda: fence(path))
        self.log = DeltaLog(path)
        self._journal = Journal(path, self.log) if isinstance(path, Path) else None

    def newest(self) -> Snapshot:
        """Return the newest state, once what waits beside the table is in it."""
        try:
            folded = self._journal.fold(self._append) if self._journal else None
            if folded is not None:
                self._merge(folded)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            log.warning(
                "%s: what was pushed just now may be missing, since this process can't write: %s", self.view.ref, error
            )
        return self.log.newest()

    def append(self, rows: pa.Table) -> Snapshot:
        """Commit rows of history; return the new state."""
        state = self._append(rows)
        self._merge(state)
        return state

    def append_from(self, rows: pa.Table, progress: Progress) -> bool:
        """Add rows, and how far they bring a stream, beside the table; tell whether it is time to bring them into it.

        Many rows are a commit at once, and to a bucket any are.

        Raises:
            OvertakenError: the history isn't where the rows' messages begin; none of them is there.
        """
        if self._journal is None:
            self._merge(self._append(rows, progress=progress))
            return False
        with self._journal.positions.held() as positions:
            if positions.of(progress.before) != progress.before:
                raise OvertakenError
            if self._journal.takes(rows):
                is_due = self._journal.add(rows, progress.after)
                positions.move(progress.after)
                return is_due
            folded = self._journal.fold(self._append)  # else it would take the table back to an earlier position
            state = self._append(rows, progress=Progress({}, progress.after))
            self.log.bring_to_disk(state)  # before the batches behind it
        for new in (folded, state):
            if new is not None:
                self._merge(new)
        return False

    def _merge(self, state: Snapshot) -> None:
        merge_if_due(f"the history of view {self.view.ref!r}", self.log, self.locks, state)

    def positions(self, partitions: Sequence[str]) -> dict[str, int | None]:
        """Return how far history has taken some partitions of streams."""
        if self._journal is None:
            return self.log.positions(partitions)
        with self._journal.positions.held() as positions:
            return positions.of(partitions)

    def _append(self, rows: pa.Table, name: str = "", progress: Progress | None = None) -> Snapshot:
        laid_out = lay_out(self.view, rows)
        with self.locks.appending():
            commit = Commit(name or uuid.uuid4().hex, laid_out, progress)
            return append(self.path, self.log, laid_out, commit)

    def append_parts(self, parts: Iterator[pa.Table]) -> Snapshot:
        """Commit the rows of tables, of which at least one comes, in one state, reading one after the other; return it.

        Raises:
            PartsError: reading them failed; none of the rows is there.
        """
        failure: list[Exception] = []
        ends = time.monotonic() + ABANDONED / 2

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                for part in chain([first], (lay_out(self.view, part) for part in parts)):
                    yield from part.to_batches(max_chunksize=_BATCH_ROWS)
                    self._refuse_late(ends)
            except Exception as error:  # the library would raise it as one of its own
                failure.append(error)
                raise

        try:
            with self.locks.appending():
                first = lay_out(self.view, next(parts))
                rows = pa.RecordBatchReader.from_batches(first.schema, batches())
                return append(self.path, self.log, rows, Commit(sample=first))
        except (DeltaError, OSError, pa.ArrowException):
            with suppress(OSError, ValueError), self.locks.rewriting_now() as alone:
                if alone:
                    remove_leftovers(self.path, self.locks, BRIEFLY)
            if failure:
                raise PartsError(failure[0]) from None
            raise

    def _refuse_late(self, ends: float) -> None:
        """Refuse an append to a bucket whose files would soon count as left behind."""
        if isinstance(self.path, ObjectPath) and time.monotonic() > ends:
            raise OfflineStoreError(
                f"view {self.view.ref!r}: reading what is to be written took longer than half a day, and an object "
                "store can't tell such an append from one that was given up. Nothing was written. Write it in parts."
            )

    def push(self, rows: pa.Table) -> bool:
        """Add rows beside the table, where they are on disk; tell whether it is time to bring them into it.

        To a bucket they are a commit at once: an object takes no more bytes.
        """
        if self._journal is None:
            self.append(rows)
            return False
        return self._journal.add(rows)

    def has_added(self) -> bool:
        """Tell whether this process has added what isn't in the table yet."""
        return self._journal is not None and self._journal.has_added()

    def forget_damaged(self) -> None:
        """Delete the copies of what was pushed and can't be read: they may hold anybody's rows."""
        if self._journal is not None:
            self._journal.forget_damaged()

    def reserve(self, count: int, at_least: int, greatest: Callable[[], int]) -> int:
        """Hand out seqs in a row; return the first. `greatest` returns the greatest of any row."""
        return reserve(self.locks, count, at_least, greatest)
