"""Data files that no state of a table names: an append's before its commit, or those of somebody who died or failed."""

from __future__ import annotations

import logging
from urllib.parse import unquote

from fs_core.offline.delta.locks import Locks
from fs_core.offline.delta.log import all_actions
from fs_core.offline.objects.path import Location, located

APPEND_SECONDS = 60.0
"""How long a forget waits for appends that are under way."""

BRIEFLY = 1.0
"""Seconds for which somebody waits for appends under way, who has no need to."""

log = logging.getLogger("fs_core")


def data_files(table: Location) -> set[str]:
    """Return every data file on disk, also those that somebody began to write: they end in `.parquet#1`."""
    found = (path for pattern in ("*.parquet", "*.parquet#*") for path in table.rglob(pattern))
    return {file for file in map(str, found) if "/_delta_log/" not in file.removeprefix(str(table))}


def named_files(table: Location) -> set[str]:
    """Return every data file that any entry of the log adds or removes."""
    paths = set()
    for actions in all_actions(table):
        for action in actions:
            paths |= {action[kind]["path"] for kind in ("add", "remove") if kind in action}
    return {f"{table}/{form}" for path in paths for form in (path, unquote(path))}


def remove_leftovers(table: Location, locks: Locks, seconds: float) -> set[str]:
    """Delete the data files that no state names and none will. Only while `locks.rewriting`.

    Rewriters exclude each other, so an unfinished file is an append's that is under way, or nobody's. Once every
    append that was under way has ended, it is named or nobody's. If the log isn't whole, because another program left
    entries to a checkpoint, nothing is deleted.

    Args:
        table: the table's directory.
        locks: its locks.
        seconds: how long to wait for appends that are under way.

    Returns:
        The files that an append which is still under way may need.
    """
    unnamed = (data_files(table) | _unfinished_entries(table)) - named_files(table)
    if not unnamed:
        return set()
    finished = locks.finished(unnamed, seconds)
    if finished and (table / "_delta_log" / f"{0:020}.json").exists():
        left = finished - named_files(table)
        for file in left:
            located(file).unlink(missing_ok=True)
        if left:
            log.info("deleted %d files in %s that somebody who died or failed had left", len(left), table)
    return unnamed - finished


def _unfinished_entries(table: Location) -> set[str]:
    """Return what somebody began to write beside the entries of the log: it may hold values of rows."""
    found = (table / "_delta_log").glob("*")
    return {str(path) for path in found if "#" in path.name or path.suffix in (".tmp", ".scrubbed")}
