"""Merging the small files that many small appends have left: of histories, and of tables by day beside them.

Files grow by tiers, so that a row is written again once a tier, and so that files which the index covers by large runs
stay.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from fs_core.offline.contract import Snapshot
from fs_core.offline.delta.appending import reason_of
from fs_core.offline.delta.layout import month_of
from fs_core.offline.delta.locks import Locks
from fs_core.offline.delta.log import DeltaLog
from fs_core.offline.delta.rewriting import HOOKS, how_written, some_rows
from fs_core.offline.objects.lease import Confirm
from fs_core.offline.objects.reading import facts

log = logging.getLogger("fs_core")

_LOOK_EVERY = 16  # states, after which it is looked whether there are many small files
_MANY = 64  # files of a tier that could be merged
_TIERS = (1 << 20, 32 << 20)  # bytes


def merge_if_due(what: str, table: DeltaLog, locks: Locks, state: Snapshot | None = None) -> None:
    """Merge files that many small appends have left, now and then; where that fails, it is done another time.

    Args:
        what: how the log calls the table.
        table: its log.
        locks: its locks.
        state: the newest state; None for whichever it is.
    """
    try:
        state = table.newest() if state is None else state
        if (state + 1) % _LOOK_EVERY:
            return
        files = table.files(state)
        most = _worth_merging(files)
        if most is not None:
            with locks.rewriting_now() as confirm, table.opened() as opened:
                if confirm:
                    merge(opened, files, most, confirm)
    except (DeltaError, OSError, pa.ArrowException) as error:  # files of somebody who is forgotten now, or a full disk
        log.warning("%s: its small files aren't merged now: %s", what, reason_of(error))


def _worth_merging(files: Sequence[str]) -> int | None:
    """Return the tier, in bytes, of which there are many files that could be merged; None if there is none."""
    for most in _TIERS:
        small = Counter(month_of(file) for file in files if facts(file).size < most)
        if small.total() - len(small) >= _MANY:
            return most
    return None


def merge(table: DeltaTable, files: Sequence[str], most: int, confirm: Confirm) -> None:
    """Commit a state in which files are merged into ones of some bytes at most; larger ones stay.

    The library would let two of these at once double rows. It refuses one that began before a fence.

    Args:
        table: at its newest state; nobody else rewrites it now.
        files: those of the state.
        most: how many bytes.
        confirm: raises where the lock on the table is lost.
    """
    confirm()
    properties = how_written(some_rows(files))
    table.optimize.compact(target_size=most, post_commithook_properties=HOOKS, writer_properties=properties)
