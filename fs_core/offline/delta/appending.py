"""Appending rows to a Delta table: once, however often the commit must be tried and whatever fails after it."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from fs_core.offline.contract import Snapshot
from fs_core.offline.delta.layout import MONTH
from fs_core.offline.delta.log import DeltaLog, lost_a_checkpoint, open_table
from fs_core.offline.delta.rewriting import CHECKPOINT_INTERVAL, HOOKS, RETRIES, checkpoint

log = logging.getLogger("fs_core")

COMMIT_SECONDS = 60.0
"""How long somebody tries again after others won the race."""

TABLE = {
    # Delta forgets states older than 30 days unless told otherwise; a training set is recreated from any.
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.checkpointInterval": str(CHECKPOINT_INTERVAL),
    # Least and greatest values are somebody's data: log entries that tell them are mended when a person is forgotten,
    # and a writer that is about to repeat them in a checkpoint can't be.
    "delta.checkpoint.writeStatsAsJson": "false",
}
"""The properties of a table."""

_NAME = "fs_core.append"  # in a commit's information


def append(table: Path, history: DeltaLog, rows: pa.Table) -> Snapshot:
    """Commit rows in a new state, once; return the state.

    The log says under which name a commit was made. So where the library fails, it can be told whether before its
    commit or after.

    Args:
        table: the table's directory.
        history: its log.
        rows: laid out as the table has them.

    Raises:
        DeltaError, OSError: no row is there.
    """
    name, before = uuid.uuid4().hex, history.newest()
    for attempt in attempts():
        with attempt:
            try:
                state = write(table, rows, name)
            except (DeltaError, OSError) as error:
                state = history.find(before, name)
                if state is None:
                    raise
                log.warning("the rows are in %s; what failed only afterwards: %s", table, reason_of(error))
    return history.find(before, name) or 0 if state is None else state


def write(table: Path, rows: pa.Table, name: str) -> Snapshot | None:
    """Commit rows in a new state under a name; return the state, None where the table was made with it."""
    table.mkdir(parents=True, exist_ok=True)
    try:
        opened: DeltaTable | None = open_table(table)
    except TableNotFoundError:
        opened = None
    write_deltalake(
        str(table) if opened is None else opened,
        rows,
        mode="append",
        partition_by=[MONTH],
        configuration=TABLE,
        commit_properties=CommitProperties(custom_metadata={_NAME: name}, max_commit_retries=RETRIES),
        post_commithook_properties=HOOKS,
    )
    if opened is None:
        return None
    checkpoint(opened)
    return int(opened.version())


def attempts() -> Retrying:
    """Return attempts at a commit that other writers may win, for a minute, at random distances."""
    return Retrying(
        retry=retry_if_exception(_lost_a_race),
        wait=wait_random_exponential(multiplier=0.02, max=1.0),
        stop=stop_after_delay(COMMIT_SECONDS),
        reraise=True,
    )


def reason_of(error: BaseException) -> str:
    """Return what a library says, without the stack trace that Delta adds."""
    return str(error).partition("\n")[0]


def _lost_a_race(error: BaseException) -> bool:
    """Whether another writer committed first, made the table at the same moment, or replaced its checkpoint."""
    made_twice = isinstance(error, DeltaError) and "already exists" in str(error)
    return isinstance(error, CommitFailedError) or made_twice or lost_a_checkpoint(error)
