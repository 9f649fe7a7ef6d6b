"""What states a Delta table has and which files make each, asked of the library once a state.

Opening a table takes milliseconds; seeing that its log has no further entry takes microseconds.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from fs_core.offline.contract import EMPTY, Snapshot

_CHECKPOINT_SECONDS = 5.0  # how long it is tried again
_REMEMBERED = 32  # states whose files a process remembers

_Identity = tuple[int, int]


def log_lines(entry: Path) -> list[str]:
    """Return the actions of a log entry as they are written, one JSON object each.

    Lines end in a newline alone: a text among the statistics may hold what Unicode calls the end of a line, too.
    """
    return [line for line in entry.read_bytes().decode().split("\n") if line]


def log_actions(entry: Path) -> list[dict[str, Any]]:
    """Return the actions of a log entry."""
    return [json.loads(line) for line in log_lines(entry)]


def open_table(place: Path, version: Snapshot | None = None) -> DeltaTable:
    """Open a table at a state, by default the newest."""
    for attempt in Retrying(
        retry=retry_if_exception(lost_a_checkpoint),
        stop=stop_after_delay(_CHECKPOINT_SECONDS),
        wait=wait_random(0.0, 0.05),
        reraise=True,
    ):
        with attempt:
            table = DeltaTable(str(place), version=version)
    return table


def lost_a_checkpoint(error: BaseException) -> bool:
    """Tell whether a checkpoint was replaced just when it was to be read, as erasing does."""
    said = str(error).lower()
    return isinstance(error, DeltaError) and "checkpoint" in said and ("not found" in said or "didn't find" in said)


class _State(NamedTuple):
    """A state, and what tells its log entry from that of a table made anew in the same place."""

    version: Snapshot
    identity: _Identity


class DeltaLog:
    """The log of one table. Thread-safe.

    Args:
        place: the table's directory; it may not exist yet.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._newest: _State | None = None
        self._files: OrderedDict[_State, list[str]] = OrderedDict()

    def newest(self) -> Snapshot:
        """Return the newest state, `EMPTY` without a table."""
        known = self._newest
        if known is None or self._identity(known.version) != known.identity:
            return self._ask()
        version = known.version
        while (identity := self._identity(version + 1)) is not None:
            version += 1
            known = _State(version, identity)
        self._newest = known
        return version

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
        # The library gives URLs, in which a space of the directory's name is %20.
        uris = open_table(self._place, version).file_uris()
        marker = f"/{self._place.name}/"
        found = sorted(f"{self._place}/{unquote(uri.rpartition(marker)[2])}" for uri in uris)
        if key is not None:
            self._files[key] = found
            while len(self._files) > _REMEMBERED:
                self._files.popitem(last=False)
        return found

    def _ask(self) -> Snapshot:
        if not self._place.exists():
            return EMPTY
        try:
            version = int(open_table(self._place).version())
        except TableNotFoundError:
            return EMPTY
        identity = self._identity(version)
        self._newest = None if identity is None else _State(version, identity)
        return version

    def _identity(self, version: Snapshot) -> _Identity | None:
        try:
            found = (self._place / "_delta_log" / f"{version:020}.json").stat()
        except FileNotFoundError:
            return None  # not written yet, or left to a checkpoint by another program
        return found.st_ino, found.st_mtime_ns
