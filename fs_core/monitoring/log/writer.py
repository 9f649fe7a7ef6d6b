"""The queue between readers, who never wait for it, and the thread that writes what is in it."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from fs_core.monitoring.log.sample import ROWS_MARK, LogSetting, Served, capture

if TYPE_CHECKING:
    from fs_core.monitoring.log.outcomes import Outcome
    from fs_core.online.row.cells import Sizes
    from fs_core.serving.read import OnlineRead
    from fs_core.serving.vectors import FeatureVectors

log = logging.getLogger("fs_core")

MOST_ROWS = 100_000
"""Rows of reads that may wait; further ones are dropped."""
_MANY_ROWS = 20_000  # are written at once
_SECONDS = 30.0  # after which few are, too
_LAST_SECONDS = 5.0  # for what waits when a store is closed, or the process ends


@dataclass(frozen=True)
class Flushed:
    """What a process has logged.

    Attributes:
        written: rows that lie in tables.
        dropped: rows that don't: the queue was full, or they couldn't be written; the process's log says why.
        waiting: rows that are in the queue still.
    """

    written: int
    dropped: int
    waiting: int


class LogWriter:
    """The logs of one process. Thread-safe; its thread starts with the first row, and is no reason to stay alive.

    Args:
        directory: where the logs lie.
        keep: how long rows are kept, microseconds.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self._directory, self._keep = directory, keep
        self._prefix, self._numbers = uuid.uuid4().hex, itertools.count()
        self._items: deque[tuple[Served | Outcome, int]] = deque()
        self._lock = threading.Lock()  # nobody who holds it does input or output
        self._changed = threading.Condition(self._lock)
        self._rows = self._put = self._done = self._written = self._dropped = 0
        self._names = set[str]()  # of logs that reads were put into
        self._since = 0.0  # when the first of those that wait came
        self._is_wanted = self._is_closed = False
        self._thread: threading.Thread | None = None
        _writers.add(self)

    def record(
        self, setting: LogSetting, rows: Sequence[int] | Sizes, read: OnlineRead, found: FeatureVectors
    ) -> str | None:
        """Have rows of a read written; return its request id, None where they are dropped.

        Args:
            setting: how reads are logged.
            rows: which rows, one at least.
            read: the read.
            found: its answer.
        """
        try:
            request_id = f"{setting.name}-{self._prefix}{next(self._numbers):x}{ROWS_MARK}{len(found)}"
            served = capture(setting, request_id, rows, read, found)
            self._names.add(setting.name)
            return request_id if self.put(served, served.weight) else None
        except Exception as error:  # noqa: BLE001  # whatever it is, it fails no read
            with self._changed:
                self._drop(len(found), repr(error))
            return None

    def has_log(self, name: str) -> bool:
        """Return whether reads were logged under a name, by this process or into the directory."""
        return name in self._names or (self._directory / name).is_dir()

    def put(self, item: Served | Outcome, rows: int) -> bool:
        """Have something written, and tell whether it will be tried; never waits for a disk.

        Args:
            item: what to write.
            rows: how many rows it keeps in memory.
        """
        with self._lock:
            if self._rows + rows > MOST_ROWS or self._is_closed or (self._thread is None and not self._start()):
                self._drop(item.count, "the queue is full: the disk doesn't keep up")
                return False
            if not self._items:
                self._since = time.monotonic()
            self._items.append((item, rows))
            self._rows += rows
            self._put += 1
            if len(self._items) == 1 or self._rows - rows < _MANY_ROWS <= self._rows:
                self._changed.notify_all()
        return True

    @property
    def counts(self) -> Flushed:
        """What became of the rows by now."""
        with self._changed:
            return Flushed(self._written, self._dropped, self._rows)

    def flush(self, within: float) -> Flushed:
        """Wait until what was put by now is written or dropped, or for so many seconds; return the counts."""
        with self._changed:
            wanted = self._put
            if self._items:
                self._is_wanted = True
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= wanted, within)
            return Flushed(self._written, self._dropped, self._rows)

    def close(self) -> None:
        """Write what waits, for some seconds at most, and end the thread."""
        left = self.flush(_LAST_SECONDS).waiting
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if left:
            log.warning("%d rows of the request log weren't written in %g s and are lost.", left, _LAST_SECONDS)
        elif self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_LAST_SECONDS)  # one that is in a library when the interpreter ends would abort it

    def _start(self) -> bool:
        """Start the thread; return whether there is one."""
        thread = threading.Thread(target=self._run, name="fs-core-log", daemon=True)
        with suppress(RuntimeError):  # the process ends, and starts none
            thread.start()
            self._thread = thread
        return self._thread is not None

    def _drop(self, rows: int, reason: str) -> None:
        if not self._dropped:
            log.warning("rows of the request log are dropped; store.flush_log() counts them. The first: %s", reason)
        self._dropped += rows

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._is_due():
                    left = self._since + _SECONDS - time.monotonic() if self._items else None
                    self._changed.wait(left)
                if self._is_closed and not self._items:
                    return
                items, self._items = list(self._items), deque()
                self._is_wanted = False
            self._write(items)

    def _is_due(self) -> bool:
        if not self._items:
            return self._is_closed
        return self._is_wanted or self._rows >= _MANY_ROWS or time.monotonic() >= self._since + _SECONDS

    def _write(self, items: Sequence[tuple[Served | Outcome, int]]) -> None:
        reason, written = "", 0
        try:
            written, reason = self._tables().append([item for item, _ in items])
        except BaseException as error:  # noqa: BLE001  # the Delta library's panics are no Exceptions
            reason = f"they can't be written: {error!r}"
        with self._changed:
            self._written += written
            self._rows -= sum(rows for _, rows in items)
            self._done += len(items)
            if reason:
                self._drop(sum(item.count for item, _ in items) - written, reason)
            self._changed.notify_all()

    def _tables(self) -> Any:
        from fs_core.monitoring.log.tables import LogTables

        return LogTables(self._directory, self._keep)


_writers: WeakSet[LogWriter] = WeakSet()
os.register_at_fork(after_in_child=_writers.clear)  # what waits in the parent is written there


@atexit.register
def _close_all() -> None:
    for writer in tuple(_writers):
        writer.close()
