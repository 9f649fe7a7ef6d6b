"""What states a Delta table has and which files make each, asked of the library once a state.

Opening a table takes milliseconds; seeing that its log has no further entry takes microseconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from fs_core.offline.contract import EMPTY, Snapshot
from fs_core.offline.objects.memory import Facts, memory
from fs_core.offline.objects.path import Location, ObjectPath
from fs_core.offline.objects.reading import each_at_once
from fs_core.rule import EVENT_TIME
from fs_core.runtime.files import bring_to_disk
from fs_core.runtime.recent import Recent

_CHANGING_SECONDS = 5.0  # how long it is tried again
_WRITTEN_BACK_SECONDS = 300.0  # by then the system has brought to disk what was written
_REMEMBERED = 32  # states whose files a process remembers
_KEPT_OPEN = 10  # states for which a table is kept open: it remembers all since, so each append takes longer

_FAR = 8  # states that are looked up in a bucket one by one, before all entries are listed

_Identity = tuple[int | str | None, int]  # of an object, its version


def log_lines(entry: Location) -> list[str]:
    """Return the actions of a log entry as they are written, one JSON object each.

    Lines end in a newline alone: a text among the statistics may hold what Unicode calls the end of a line, too.
    """
    return [line for line in entry.read_bytes().decode().split("\n") if line]


def log_actions(entry: Location) -> list[dict[str, Any]]:
    """Return the actions of a log entry."""
    return [json.loads(line) for line in log_lines(entry)]


def all_actions(table: Location) -> Iterable[list[dict[str, Any]]]:
    """Return the actions of every entry of a table's log, in order."""
    if isinstance(table, ObjectPath):
        return each_at_once(log_actions, sorted((table / "_delta_log").glob("*.json")))
    return map(log_actions, _entries(table))


def _entries(table: Path) -> Iterator[Path]:
    """Yield the entries of a log in order, by number: a listing of files may leave out what is written meanwhile."""
    entries = table / "_delta_log"
    listed = (int(entry.stem) for entry in entries.glob("*.json"))
    number = 0 if (entries / f"{0:020}.json").exists() else min(listed, default=0)
    while (entry := entries / f"{number:020}.json").exists():
        yield entry
        number += 1


def open_table(directory: Location, version: Snapshot | None = None) -> DeltaTable:
    """Open a table at a state, by default the newest.

    Raises:
        TableNotFoundError: there is none.
    """
    if not (directory / "_delta_log").is_dir():  # an error in an attempt below would keep its callers' frames for long
        raise TableNotFoundError(f"no Delta table in {directory}")

    def is_passing(error: BaseException) -> bool:
        asked = version is None or (directory / "_delta_log" / f"{version:020}.json").exists()
        return asked and log_was_changing(error)

    for attempt in Retrying(
        retry=retry_if_exception(is_passing),
        stop=stop_after_delay(_CHANGING_SECONDS),
        wait=wait_random(0.0, 0.05),
        reraise=True,
    ):
        with attempt:
            table = DeltaTable(str(directory), version=version)
    return table


def files_of(directory: Location, table: DeltaTable) -> list[str]:
    """Return the data files of an open table's state, sorted.

    Args:
        directory: where the table lies.
        table: the table.
    """
    marker = f"/{directory.name}/"  # the library gives URLs, in which a space of the directory's name is %20
    return sorted(f"{directory}/{unquote(uri).rpartition(marker)[2]}" for uri in table.file_uris())


def log_was_changing(error: BaseException) -> bool:
    """Return whether the log changed while the library listed or read it.

    A listing may show an entry and not the one before it, if both were made meanwhile. A checkpoint is replaced by
    who erases.
    """
    message = str(error).lower()
    lost = "checkpoint" in message and ("not found" in message or "didn't find" in message)
    missed = "found gap" in message or "logsegment end version" in message
    return isinstance(error, DeltaError) and (lost or missed)


class _State(NamedTuple):
    """A state, and what identifies its log entry, should a table be made anew in the same directory."""

    version: Snapshot
    identity: _Identity


class _Kept(NamedTuple):
    """An open table, the version at which it was opened, and the state at which it was last seen."""

    table: DeltaTable
    first: Snapshot
    last: _State


class DeltaLog:
    """The log of one table. Thread-safe.

    Args:
        directory: the table's; it may not exist yet.
    """

    def __init__(self, directory: Location) -> None:
        self._directory = directory
        self._newest: _State | None = None
        self._on_disk = EMPTY  # up to which state this process has waited
        self._files: Recent[_State, list[str]] = Recent(_REMEMBERED)
        self._open: list[_Kept] = []

    @contextmanager
    def opened(self) -> Iterator[DeltaTable]:
        """Yield the table at its newest state, to one thread; it stays open for the next one, unless this one fails.

        Raises:
            TableNotFoundError: there is none.
        """
        kept = self._take_open()
        table = open_table(self._directory) if kept is None else kept.table
        first = int(table.version()) if kept is None else kept.first
        yield table
        last = int(table.version())
        identity = self._identity(last)
        if identity is not None and last - first < _KEPT_OPEN:
            self._open.append(_Kept(table, first, _State(last, identity)))

    def _take_open(self) -> _Kept | None:
        """Return a table that is open, at its newest state now; None if there is none, or if it was made anew since."""
        try:
            kept = self._open.pop()
            if self._identity(kept.last.version) == kept.last.identity:
                kept.table.update_incremental()
                return kept
        except (IndexError, DeltaError):
            pass
        return None

    def newest(self) -> Snapshot:
        """Return the newest state, `EMPTY` without a table."""
        known = self._newest
        if known is None or self._identity(known.version) != known.identity:
            return self._ask()
        first = version = known.version
        while (identity := self._identity(version + 1)) is not None:
            version += 1
            known = _State(version, identity)
            if isinstance(self._directory, ObjectPath) and version - first > _FAR:
                return self._ask()
        self._newest = known
        return version

    def positions(self, partitions: Iterable[str]) -> dict[str, int | None]:
        """Return how far the newest state has taken some partitions of streams, None for those it doesn't know."""
        try:
            with self.opened() as table:
                return {name: table.transaction_version(name) for name in partitions}
        except TableNotFoundError:
            return dict.fromkeys(partitions)

    def find(self, after: Snapshot, text: str) -> Snapshot | None:
        """Return the first state after one whose log entry holds a text; None if there is none."""
        while True:
            after += 1
            try:
                entry = self._entry(after).read_bytes()
            except FileNotFoundError:
                return None
            if text.encode() in entry:
                return after

    def files(self, version: Snapshot) -> list[str]:
        """Return a state's files, sorted.

        Raises:
            DeltaError: there is no such state.
        """
        identity = self._identity(version)
        key = None if identity is None else _State(version, identity)
        known = None if key is None else self._files.get(key)
        if known is not None:
            return known
        with self._at(version, key) as table:
            found = files_of(self._directory, table)
            if isinstance(self._directory, ObjectPath):
                _note_sizes(self._directory, table)
        if key is not None:
            self._files.put(key, found)
        return found

    @contextmanager
    def _at(self, version: Snapshot, key: _State | None) -> Iterator[DeltaTable]:
        """Yield the table at a state, to one thread: one that is open there, or that is opened for it."""
        try:
            kept = self._open.pop()
        except IndexError:
            kept = None
        yield open_table(self._directory, version) if kept is None or kept.last != key else kept.table
        if kept is not None:
            self._open.append(kept)

    def bring_to_disk(self, state: Snapshot | None = None) -> None:
        """Wait until the newest state would survive a loss of power: what earlier ones need is deleted next.

        A bucket has seen to that before it answers.

        Args:
            state: wait for what this state has added alone, and those shortly before it, without which it can't be
                read.
        """
        if isinstance(self._directory, ObjectPath):
            return
        if state is None:
            needed = {Path(file) for file in self.files(self.newest())}
            needed |= set((self._directory / "_delta_log").glob("*.json"))
        else:
            needed = self._fresh(self._directory, state)
        above = {self._directory.parent, self._directory}  # where a new table, and the directory of a new month, appear
        bring_to_disk(*sorted(needed | above | {path.parent for path in needed}))
        self._on_disk = self._on_disk if state is None else state

    def _fresh(self, directory: Path, state: Snapshot) -> set[Path]:
        """Return what a state and those before it have added, as far back as the system may not have it on disk yet."""
        needed = set[Path]()
        for version in range(state, -1, -1):
            entry = directory / "_delta_log" / f"{version:020}.json"
            if needed and (version <= self._on_disk or not _is_fresh(entry)):
                break
            added = [directory / unquote(action["add"]["path"]) for action in log_actions(entry) if "add" in action]
            needed |= {entry, *(file for file in added if file.exists())}  # or it was rewritten since
        return needed

    def _ask(self) -> Snapshot:
        if isinstance(self._directory, Path) and not self._directory.exists():
            return EMPTY
        try:
            table = open_table(self._directory)
        except TableNotFoundError:
            return EMPTY
        version = int(table.version())
        identity = self._identity(version)
        self._newest = known = None if identity is None else _State(version, identity)
        if known is not None and not self._open:  # what it was asked for is mostly its files next
            self._open.append(_Kept(table, version, known))
        return version

    def _identity(self, version: Snapshot) -> _Identity | None:
        try:
            found = self._entry(version).stat()
        except FileNotFoundError:
            return None  # not written yet, or left to a checkpoint by another program
        return found.st_ino, found.st_mtime_ns

    def _entry(self, version: Snapshot) -> Location:
        return self._directory / "_delta_log" / f"{version:020}.json"


def _is_fresh(entry: Path) -> bool:
    """Tell whether an entry of a log was written shortly ago."""
    try:
        return time.time() - entry.stat().st_mtime < _WRITTEN_BACK_SECONDS
    except FileNotFoundError:  # left to a checkpoint by another program
        return False


def _note_sizes(directory: ObjectPath, table: DeltaTable) -> None:
    """Remember what a table's log says of its data files, so that no bucket is asked."""
    actions = pa.table(table.get_add_actions(flatten=True))
    columns = (actions[name].to_pylist() for name in ("path", "size_bytes", "modification_time"))
    for path, size, moment in zip(*columns, strict=True):
        memory().facts.put(f"{directory}/{unquote(path)}", Facts(size, moment / 1000))


_LOOK_BACK = 20  # states: compactions and erasures bring no rows


@dataclass(frozen=True)
class ColumnStatistics:
    """A column's values in one write.

    Attributes:
        minimum: the least, as JSON has it; None where the log doesn't say.
        maximum: the greatest.
        nulls: how many are null; None where the log doesn't say.
    """

    minimum: Any
    maximum: Any
    nulls: int | None


@dataclass(frozen=True)
class LastWrite:
    """One write.

    Attributes:
        rows: how many rows it brought.
        at: when, microseconds since 1970-01-01 UTC.
        newest: the latest event time among them, ISO 8601; None where the log doesn't say.
        columns: statistics by column.
    """

    rows: int
    at: int
    newest: str | None
    columns: Mapping[str, ColumnStatistics]


def last_write(table: Location, state: int) -> LastWrite | None:
    """Return what was last written to a Delta table up to a state; None if nothing, or if its log doesn't say."""
    actions = _writing(table, state)
    moments = [action["commitInfo"]["timestamp"] for action in actions if "commitInfo" in action]
    return _summary(_added(actions), int(moments[0]) * 1000) if moments else None


def _writing(table: Location, state: int) -> list[dict[str, Any]]:
    """Return the log entry of the last state up to one that brought rows; empty if it isn't known."""
    for version in range(state, max(-1, state - _LOOK_BACK), -1):
        try:
            actions = log_actions(table / "_delta_log" / f"{version:020}.json")
        except (OSError, ValueError):
            break
        if _added(actions):
            return actions
    return []


def _added(actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the files with new rows that an entry adds."""
    if any("remove" in action for action in actions):  # then what was added are the rows that stayed
        return []
    return [action["add"] for action in actions if action.get("add", {}).get("dataChange")]


def _summary(added: list[dict[str, Any]], at: int) -> LastWrite | None:
    statistics = [json.loads(file["stats"]) for file in added if file.get("stats")]
    if len(statistics) < len(added):
        return None
    names = {name for stats in statistics for part in ("nullCount", "minValues") for name in stats.get(part, {})}
    columns = {name: _column(name, statistics) for name in names}
    newest = columns[EVENT_TIME].maximum if EVENT_TIME in columns else None
    return LastWrite(sum(stats["numRecords"] for stats in statistics), at, newest, columns)


def _column(name: str, statistics: list[dict[str, Any]]) -> ColumnStatistics:
    least = [s["minValues"][name] for s in statistics if name in s.get("minValues", {})]
    most = [s["maxValues"][name] for s in statistics if name in s.get("maxValues", {})]
    nulls = [s["nullCount"][name] for s in statistics if isinstance(s.get("nullCount", {}).get(name), int)]
    whole = len(nulls) == len(statistics)
    try:
        return ColumnStatistics(min(least, default=None), max(most, default=None), sum(nulls) if whole else None)
    except TypeError:  # a nested column's are mappings
        return ColumnStatistics(None, None, sum(nulls) if whole else None)
