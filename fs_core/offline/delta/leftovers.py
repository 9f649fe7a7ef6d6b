"""What nothing needs any more: states that are let go, and data files that no state names."""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from fs_core.offline.contract import EMPTY, Snapshot
from fs_core.offline.delta.locks import Locks
from fs_core.offline.delta.log import all_actions, entry_of, entry_runs, has_statistics, last_writing, log_actions
from fs_core.offline.objects.path import Location, located
from fs_core.offline.objects.reading import parquet_file
from fs_core.runtime.files import bring_to_disk

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
    """Return every data file that a state needs which can be read: any that the log adds or removes.

    Where states were let go, the entries that follow begin with a checkpoint, and that names what they add to.
    """
    paths = {path for checkpoint in _begun_with(table) if checkpoint is not None for path in _added(checkpoint)}
    for actions in all_actions(table):
        for action in actions:
            paths |= {action[kind]["path"] for kind in ("add", "remove") if kind in action}
    return {f"{table}/{form}" for path in paths for form in (path, unquote(path))}


def remove_leftovers(table: Location, locks: Locks, seconds: float) -> set[str]:
    """Delete the data files that no state names and none will. Only while `locks.rewriting`.

    Rewriters exclude each other, so an unfinished file is an append's that is under way, or nobody's. Once every
    append that was under way has ended, it is named or nobody's. If the log isn't whole, because another program left
    entries to checkpoints of another kind, nothing is deleted.

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
    if finished and None not in _begun_with(table):
        left = finished - named_files(table)
        for file in left:
            located(file).unlink(missing_ok=True)
        if left:
            log.info("deleted %d files in %s that no state needs", len(left), table)
    return unnamed - finished


def let_go(table: Location, before: int, pinned: Collection[Snapshot]) -> Snapshot:
    """Delete what the log says of old states alone: they can't be read then. Only while `locks.rewriting`.

    What is kept begins with a checkpoint: the last one made before a moment, or before rows last came, where that was
    earlier, and the last one before each pinned state.
    Later entries go first. So whoever dies anywhere leaves an old state readable as it was, or not at all. Data files
    that only such states need are leftovers then.

    Args:
        table: the table's directory.
        before: a moment, milliseconds since 1970-01-01 UTC; states that were the newest then or later are kept.
        pinned: other states that are kept, where they are there.

    Returns:
        The oldest state that is kept beside the pinned ones.
    """
    runs, checkpoints = entry_runs(table), _checkpoints(table)
    if not runs:
        return EMPTY
    old = checkpoints[: bisect_right(checkpoints, before, key=partial(_moment, table))]
    first = _base(table, old[: bisect_right(old, last_writing(table, runs[-1].stop - 1))])
    if first is None:
        return runs[0].start
    kept = [range(first, runs[-1].stop)]
    kept += [
        range(_base(table, checkpoints[: bisect_right(checkpoints, state)]) or 0, state + 1)
        for state in pinned
        if state < first
    ]
    bases = {some.start for some in kept}
    if isinstance(table, Path):
        bring_to_disk(*(Path(str(_checkpoint(table, one))) for one in bases.intersection(checkpoints)))
        bring_to_disk(table / "_delta_log")
    needed = {number for some in kept for number in some}
    for number in (number for run in reversed(runs) for number in reversed(run) if number not in needed):
        entry_of(table, number).unlink(missing_ok=True)
    for version in checkpoints:
        if version < first and version not in bases:
            _checkpoint(table, version).unlink(missing_ok=True)
    return first


def _base(table: Location, checkpoints: Sequence[Snapshot]) -> Snapshot | None:
    """Return the last of some checkpoints that stays when somebody is forgotten; None without one."""
    for version in reversed(checkpoints):
        if entry_of(table, version).exists() and not has_statistics(_checkpoint(table, version)):
            return version
    return None


def _moment(table: Location, version: Snapshot) -> int:
    """Return when a state was committed, milliseconds since 1970-01-01 UTC; 0 where its entry isn't there."""
    try:
        actions = log_actions(entry_of(table, version))
    except FileNotFoundError:
        return 0
    return max((int(action["commitInfo"]["timestamp"]) for action in actions if "commitInfo" in action), default=0)


def _checkpoint(table: Location, version: Snapshot) -> Location:
    return table / "_delta_log" / f"{version:020}.checkpoint.parquet"


def _checkpoints(table: Location) -> list[Snapshot]:
    """Return of which states there are checkpoints, in order."""
    names = (path.name.partition(".")[0] for path in (table / "_delta_log").glob("*.checkpoint.parquet"))
    return sorted(int(name) for name in names if name.isdigit())


def _begun_with(table: Location) -> list[Location | None]:
    """Return the checkpoint with which each range of entries begins that has none before it; None where none does."""
    checkpoints = _checkpoints(table)
    firsts = [(run, bisect_left(checkpoints, run.start - 1)) for run in entry_runs(table) if run.start]
    found = [checkpoints[at] if at < len(checkpoints) and checkpoints[at] < run.stop else None for run, at in firsts]
    return [None if version is None else _checkpoint(table, version) for version in found]


def _added(checkpoint: Location) -> set[str]:
    """Return the files of the state of a checkpoint, as the log has them."""
    actions = parquet_file(str(checkpoint)).read(columns=["add.path"])["add"]
    return {action["path"] for action in actions.to_pylist() if action is not None and action["path"] is not None}


def _unfinished_entries(table: Location) -> set[str]:
    """Return what somebody began to write beside the entries of the log: it may hold values of rows."""
    found = (table / "_delta_log").glob("*")
    return {str(path) for path in found if "#" in path.name or path.suffix in (".tmp", ".scrubbed")}
