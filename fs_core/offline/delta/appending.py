"""Appending rows to a Delta table: numbered once, and there once, however often a commit is tried, whatever fails."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from fs_core.offline.contract import OvertakenError, Progress, Snapshot
from fs_core.offline.delta.layout import MONTH
from fs_core.offline.delta.locks import Locks
from fs_core.offline.delta.log import DeltaLog, log_was_changing, open_table
from fs_core.offline.delta.rewriting import CHECKPOINT_INTERVAL, HOOKS, RETRIES, checkpoint, how_written
from fs_core.offline.objects.path import Location, brief, broke_off
from fs_core.offline.search.runs.meta import boot
from fs_core.runtime.files import make_directory

log = logging.getLogger("fs_core")

COMMIT_SECONDS = 60.0
"""How long somebody tries again after others won the race."""

TABLE = {
    # Delta forgets states older than 30 days by default; a training set is recreated from any.
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.checkpointInterval": str(CHECKPOINT_INTERVAL),
    # Least and greatest values are somebody's data: log entries that hold them are mended when a person is forgotten,
    # and a writer that is about to repeat them in a checkpoint can't be.
    "delta.checkpoint.writeStatsAsJson": "false",
}
"""The properties of a table."""

Rows: TypeAlias = pa.Table | pa.RecordBatchReader
"""What is appended, laid out as the table has it."""

_STREAM_BYTES = 32 << 20  # of a file of a stream, as the library holds one for each month in memory
_NAME = "fs_core.append"  # in a commit's information
_FENCE = "fs_core.fence"  # a property of a table; a change of it is one of its metadata
_BYTES = 96  # always the same, so that no rest of an earlier number stays
_START = boot() or uuid.uuid4().hex
"""Identifies this start of the machine, or this process where the system doesn't say."""


def reserve(locks: Locks, count: int, at_least: int, greatest: Callable[[], int]) -> int:
    """Hand out `count` seqs in a row, to nobody else ever, whatever registry a store was opened with; return the first.

    The next one is kept beside the table. A file isn't brought to disk each time. So after the machine was started
    anew, or where it is missing, the rows of the table are asked as well.

    Args:
        locks: the table's.
        count: how many.
        at_least: what the first may not be less than.
        greatest: returns the greatest seq in the table, -1 without rows.

    Raises:
        OSError: the number can't be written; none was handed out.
    """
    first = 0

    def taken(said: bytes) -> bytes:
        nonlocal first
        known = _read(said)
        following = int(known.get("next", 0))
        if not known or (locks.forgetful and known.get("boot") != _START):
            following = max(following, greatest() + 1)
        first = max(following, at_least)
        return json.dumps({"next": first + count, "boot": _START}).ljust(_BYTES).encode()

    locks.number(taken)
    return first


def _read(data: bytes) -> dict[str, Any]:
    """Return what the file says, nothing if it is new or damaged."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("next"), int) else {}


@dataclass(frozen=True)
class Commit:
    """How rows are committed.

    Attributes:
        name: what no other commit is called.
        sample: some of the rows, as by which it is decided how files are written; the first ones of a stream.
        progress: how far the rows bring streams, if they come from some; it names no position before where whoever
            commits has seen to it that no message is left out or there twice.
    """

    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    sample: pa.Table = field(default_factory=lambda: pa.table({}))
    progress: Progress | None = None

    def refuse_overtaken(self, table: DeltaTable) -> None:
        """Raise `OvertakenError` where a table isn't where the rows' messages begin.

        The library refuses the commit if another one changes that between this look and the commit.
        """
        if self.progress is not None:
            found = {name: table.transaction_version(name) for name in self.progress.before}
            if found != self.progress.before:
                raise OvertakenError

    def properties(self) -> CommitProperties:
        """Return what the library's commit says beside the rows."""
        after = {} if self.progress is None else self.progress.after
        transactions = [Transaction(name, position) for name, position in after.items()]
        return CommitProperties(
            custom_metadata={_NAME: self.name}, max_commit_retries=RETRIES, app_transactions=transactions or None
        )


def append(table: Location, history: DeltaLog, rows: Rows, commit: Commit) -> Snapshot:
    """Commit rows in a new state, once; return the state.

    The log says under which name a commit was made. So where the library fails, it is known whether that was before its
    commit or after.

    Args:
        table: the table's directory.
        history: its log.
        rows: laid out as the table has them; a stream is read once, so that it isn't tried again.
        commit: how they are committed.

    Raises:
        DeltaError, OSError: no row is there.
        OvertakenError: nor is any, since the table isn't where the commit's progress begins.
    """
    before = history.newest()
    for attempt in attempts(COMMIT_SECONDS if isinstance(rows, pa.Table) else 0.0):
        with attempt:
            try:
                state = write(table, rows, commit, history)
            except (DeltaError, OSError) as error:
                state = _found(history, before, commit, error)
                if state is None:
                    raise
                log.warning("the rows are in %s; what failed only afterwards: %s", table, reason_of(error))
    return history.find(before, commit.name) or 0 if state is None else state


def _found(history: DeltaLog, before: Snapshot, commit: Commit, error: Exception) -> Snapshot | None:
    """Return the state that a commit made, although the library failed; None if there is none.

    Raises:
        OSError: the log can't be read either, as where a bucket doesn't answer.
    """
    try:
        return history.find(before, commit.name)
    except OSError as unknown:
        raise OSError(
            f"{reason_of(error)}; whether the rows are there isn't known, since the log can't be read: {unknown}. "
            "Look for them before you write them again"
        ) from error


def write(table: Location, rows: Rows, commit: Commit, history: DeltaLog) -> Snapshot | None:
    """Commit rows in a new state; return the state, None where the table was made with it.

    Args:
        table: the table's directory.
        rows: laid out as the table has them.
        commit: how they are committed.
        history: the table's log.
    """
    if isinstance(table, Path):
        make_directory(table)
    try:
        with history.opened() as opened:
            return _write(opened, rows, commit)
    except TableNotFoundError:
        pass
    if commit.progress is None or not commit.progress.before:
        _commit(str(table), rows, commit)
        return None
    return _write(DeltaTable.create(str(table), rows.schema, partition_by=[MONTH], configuration=TABLE), rows, commit)


def _write(table: DeltaTable, rows: Rows, commit: Commit) -> Snapshot:
    commit.refuse_overtaken(table)
    _commit(table, rows, commit)
    checkpoint(table)
    return int(table.version())


def _commit(table: DeltaTable | str, rows: Rows, commit: Commit) -> None:
    write_deltalake(
        table,
        rows,
        mode="append",
        partition_by=[MONTH],
        configuration=TABLE,
        commit_properties=commit.properties(),
        post_commithook_properties=HOOKS,
        writer_properties=how_written(commit.sample),
        target_file_size=None if isinstance(rows, pa.Table) else _STREAM_BYTES,
    )


def fence(table: Location) -> None:
    """Commit a state that changes no row, and makes the library refuse every commit that began before it.

    Appends begin again then, except those of a stream, which can be read once.
    """
    for attempt in attempts():
        with attempt, suppress(TableNotFoundError):
            opened = open_table(table)
            opened.alter.set_table_properties({_FENCE: uuid.uuid4().hex}, raise_if_not_exists=False)


def attempts(seconds: float | None = None) -> Retrying:
    """Return attempts at a commit that other writers may win, for some seconds, by default a minute."""
    return Retrying(
        retry=retry_if_exception(_passes),
        wait=wait_random_exponential(multiplier=0.02, max=1.0),
        stop=stop_after_delay(COMMIT_SECONDS if seconds is None else seconds),
        reraise=True,
    )


def reason_of(error: BaseException) -> str:
    """Return what a library says, without the stack trace that Delta adds."""
    return brief(str(error))


def _passes(error: BaseException) -> bool:
    """Whether another writer committed first, made the table at the same moment, or changed the log that was read.

    Or a bucket's answer broke off; whether the commit stands is looked up then.
    """
    made_twice = isinstance(error, DeltaError) and "already exists" in str(error)
    return isinstance(error, CommitFailedError) or made_twice or log_was_changing(error) or broke_off(error)
