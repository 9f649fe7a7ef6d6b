"""The queue between readers, who never wait for it, and the thread that writes what is in it."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
import time
import uuid
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from fs_core.monitoring.log.sample import LogSetting
from fs_core.monitoring.log.served import ROWS_MARK, Beside, Kinds, ServedReads
from fs_core.serving.answers import OnlineAnswer

if TYPE_CHECKING:
    from fs_core.monitoring.log.outcomes import Outcome
    from fs_core.online.row.cells import Sizes
    from fs_core.serving.plan import ReadPlan
    from fs_core.serving.read import OnlineRead
    from fs_core.serving.vectors import FeatureVectors

log = logging.getLogger("fs_core")

MOST_ROWS = 100_000
"""Rows of reads that may wait; further ones are dropped."""
MOST_BYTES = 128 << 20
"""Bytes that they may take, about."""
_MANY_ROWS, _MANY_BYTES = 50_000, 32 << 20  # are written at once
_READ_BYTES = 180  # of what tells of a read
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


@dataclass(eq=False, slots=True)
class _Queue:
    """What waits for the thread.

    Attributes:
        reads: what is logged of reads, by the log's name, their plan and the kinds of their answers.
        outcomes: predictions and labels, by the log's name.
        put: how many of both there are.
        logged: of how many rows they tell.
        rows: how many rows they keep in memory.
        size: and about how many bytes.
        since: when the first one came.
    """

    reads: dict[tuple[str, ReadPlan, Kinds], ServedReads] = field(default_factory=dict)
    outcomes: defaultdict[str, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    put: int = 0
    logged: int = 0
    rows: int = 0
    size: int = 0
    since: float = 0.0

    @property
    def is_large(self) -> bool:
        """Whether it is written at once."""
        return self.rows >= _MANY_ROWS or self.size >= _MANY_BYTES


class LogWriter:
    """The logs of one process. Thread-safe; its thread starts with the first row, and is no reason to stay alive.

    Args:
        directory: where the logs lie.
        keep: how long rows are kept, microseconds.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self._directory, self._keep = directory, keep
        self._prefix, self._numbers = uuid.uuid4().hex, itertools.count()
        self._queue, self._writing = _Queue(), _Queue()  # what comes, and what the thread has taken
        self._lock = threading.Lock()  # nobody who holds it does input or output
        self._changed = threading.Condition(self._lock)
        self._done = self._written = self._dropped = 0
        self._names = set[str]()  # of logs that reads were put into
        self._is_wanted = self._is_closed = False
        self._thread: threading.Thread | None = None
        _writers.add(self)

    def record(self, setting: LogSetting, rows: Sizes, read: OnlineRead, found: FeatureVectors) -> str | None:
        """Have rows of a read written; return its request id, None where they are dropped.

        Args:
            setting: how reads are logged.
            rows: which rows, one at least.
            read: the read.
            found: its answer.
        """
        name, plan, kinds, beside = setting.name, read.plan, tuple(map(type, found.answers)), None
        request_id = f"{name}-{self._prefix}{next(self._numbers):x}{ROWS_MARK}{len(found)}"
        count = len(rows)
        kept, size = count, _READ_BYTES + count * plan.row_bytes
        if not plan.is_fixed or kinds.count(OnlineAnswer) < len(kinds):
            try:
                beside = Beside.of(rows, read, found)
            except Exception as error:  # noqa: BLE001  # whatever it is, it fails no read
                with self._lock:
                    self._drop(count, repr(error))
                return None
            kept, size = len(found), size + beside.size
        with self._lock:
            if not self._takes(count, kept, size):
                return None
            queue, log = self._queue, (name, plan, kinds)
            reads = queue.reads.get(log)
            lost = count if reads is None else count + reads.rows  # if it fails
            try:
                if reads is None:
                    reads = queue.reads[log] = ServedReads(plan, kinds)
                    self._names.add(name)
                reads.add(request_id, rows, read, found, beside)
            except BaseException as error:  # there is no memory, or somebody interrupts: its rows don't go together
                queue.reads.pop(log, None)
                queue.logged -= lost
                self._drop(lost, repr(error))
                if isinstance(error, Exception):
                    return None
                raise
        return request_id

    def has_log(self, name: str) -> bool:
        """Return whether reads were logged under a name, by this process or into the directory."""
        return name in self._names or (self._directory / name).is_dir()

    def put(self, outcome: Outcome) -> bool:
        """Have something written, and tell whether it will be tried; never waits for a disk."""
        with self._lock:
            if takes := self._takes(outcome.count, outcome.count, outcome.size):
                self._queue.outcomes[outcome.log].append(outcome)
        return takes

    def _takes(self, logged: int, rows: int, size: int) -> bool:
        """Return whether something may be put, and count it as put. Only with the lock.

        Args:
            logged: of how many rows it tells.
            rows: how many rows it keeps in memory.
            size: and about how many bytes.
        """
        queue, writing = self._queue, self._writing
        rows, size = queue.rows + rows, queue.size + size
        full = rows + writing.rows > MOST_ROWS or size + writing.size > MOST_BYTES
        if full or self._is_closed or (self._thread is None and not self._start()):
            self._drop(
                logged, "the store is closed" if self._is_closed else "the queue is full: the disk doesn't keep up"
            )
            return False
        queue.put, queue.logged, queue.rows, queue.size = queue.put + 1, queue.logged + logged, rows, size
        if queue.put == 1:
            queue.since = time.monotonic()
            self._changed.notify_all()
        elif rows >= _MANY_ROWS or size >= _MANY_BYTES:  # here without a call: a reader waits
            self._changed.notify_all()
        return True

    @property
    def counts(self) -> Flushed:
        """What became of the rows by now."""
        with self._changed:
            return self._counts()

    def _counts(self) -> Flushed:
        return Flushed(self._written, self._dropped, self._queue.logged + self._writing.logged)

    def flush(self, within: float) -> Flushed:
        """Wait until what was put by now is written or dropped, or for so many seconds; return the counts."""
        with self._changed:
            wanted = self._done + self._writing.put + self._queue.put
            if self._queue.put:
                self._is_wanted = True
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= wanted, within)
            return self._counts()

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
                    left = self._queue.since + _SECONDS - time.monotonic() if self._queue.put else None
                    self._changed.wait(left)
                if self._is_closed and not self._queue.put:
                    return
                self._writing, self._queue = self._queue, _Queue()
                self._is_wanted = False
            self._write(self._writing)

    def _is_due(self) -> bool:
        queue = self._queue
        if not queue.put:
            return self._is_closed
        return self._is_closed or self._is_wanted or queue.is_large or time.monotonic() >= queue.since + _SECONDS

    def _write(self, taken: _Queue) -> None:
        reason, written = "", 0
        try:
            written, reason = self._tables().append(taken.reads.items(), taken.outcomes.items())
        except BaseException as error:  # noqa: BLE001  # the Delta library's panics are no Exceptions
            reason = f"they can't be written: {error!r}"
        with self._changed:
            self._written += written
            self._done += taken.put
            self._writing = _Queue()
            if reason:
                self._drop(taken.logged - written, reason)
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
