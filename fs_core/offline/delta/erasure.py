"""Erasing entities from a Delta table: their rows from the newest state, and every older file that holds one.

A file of an older state goes only if it holds such a row, so every state that doesn't need it can still be read.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import unquote

import duckdb
import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.contract import Snapshot
from fs_core.offline.delta.layout import month_of
from fs_core.offline.delta.leftovers import APPEND_SECONDS, data_files, named_files, remove_leftovers
from fs_core.offline.delta.log import log_lines, open_table
from fs_core.offline.delta.rewriting import Seqs, replace_rows
from fs_core.offline.delta.table import ViewTable
from fs_core.offline.duckdb import connect, quoted, scan
from fs_core.offline.objects.path import Location, ObjectPath, is_object, located
from fs_core.offline.objects.reading import parquet_file
from fs_core.rule import SEQ
from fs_core.values.dtypes import storage_type

log = logging.getLogger("fs_core")

_FILES_A_QUERY = 500


class Doomed:
    """Entities that are to be erased, for as long as a connection is open.

    Args:
        connection: where they are known as the table `fs_doomed`.
        entities: some key columns of the view, without nulls.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, entities: pa.Table) -> None:
        self._connection = connection
        stored = {name: entities[name].cast(storage_type(entities[name].type)) for name in entities.column_names}
        connection.register("fs_doomed", pa.table(stored))
        self._same = " AND ".join(f"history.{quoted(name)} = fs_doomed.{quoted(name)}" for name in stored)

    def holders(self, files: Sequence[str]) -> list[str]:
        """Return which of some files hold a row of theirs."""
        found = (self._ask("DISTINCT filename", part).fetchall() for part in _parts(files))
        return sorted(str(row[0]) for part in found for row in part)

    def seqs(self, files: Sequence[str]) -> Seqs:
        """Return the seqs of their rows in some files."""
        found = [self._ask(SEQ, part).fetchnumpy()[SEQ] for part in _parts(files)]
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def count(self, files: Sequence[str]) -> int:
        """Return how many rows of theirs are in some files."""
        return sum(int(self._ask("count(*)", part).fetchall()[0][0]) for part in _parts(files))

    def warn_of(self, unfinished: Collection[str]) -> None:
        """Have the log say where files of a bucket hold rows of theirs that may be about to be appended."""
        held = self.holders([file for file in sorted(unfinished) if is_object(file) and file.endswith(".parquet")])
        if held:
            log.warning(
                "files with rows of who is to be forgotten that no state names: %d. They are an append's that is under "
                "way, or left by a killed one; a bucket doesn't tell. Repeat it when nobody appends; such files are "
                "deleted once they are a day old. The first: %s",
                len(held),
                held[0],
            )

    def _ask(self, wanted: str, files: Sequence[str]) -> duckdb.DuckDBPyConnection:
        query = f"SELECT {wanted} FROM {scan(files, named=True)} AS history SEMI JOIN fs_doomed ON {self._same}"
        return self._connection.execute(query)

    def erase(self, view: FeatureView, table: Location, state: Snapshot, files: Sequence[str], clean: set[str]) -> int:
        """Commit a state without their rows, if the given state has any; return how many there were.

        Args:
            view: whose history.
            table: the table's directory.
            state: the state to start from.
            files: its files.
            clean: those that are known to hold no row of theirs; more are added.

        Raises:
            CommitFailedError: somebody else has changed the same rows meanwhile.
        """
        found = self.holders([file for file in files if file not in clean])
        clean.update(set(files).difference(found))
        if not found:
            return 0
        seqs, months = self.seqs(found), set(map(month_of, found))
        others = f"SELECT * FROM history ANTI JOIN fs_doomed ON {self._same}"
        replace_rows(self._connection, view, table, state, files, seqs=seqs, months=months, rows=others)
        return len(seqs)


def _parts(files: Sequence[str]) -> list[Sequence[str]]:
    return [files[start : start + _FILES_A_QUERY] for start in range(0, len(files), _FILES_A_QUERY)]


@contextmanager
def doomed(entities: pa.Table) -> Iterator[Doomed]:
    """Open a connection that knows entities which are to be erased."""
    with connect() as connection:
        yield Doomed(connection, entities)


def delete_holders(whom: Doomed, table: ViewTable, newest: Callable[[], Sequence[str]]) -> int:
    """Delete every file that holds a row of theirs but those of the newest state; return how many there were.

    Args:
        whom: the entities.
        table: the view's.
        newest: gives the files of the newest state.
    """
    present = data_files(table.path)
    unfinished = remove_leftovers(table.path, table.locks, APPEND_SECONDS)
    present -= unfinished
    whom.warn_of(unfinished)
    # The newest state is looked up last: what was being appended when the list was made is in it now.
    older = sorted((present & data_files(table.path)).difference(newest()))
    gone = whom.holders(older)
    if gone:
        table.log.bring_to_disk()
        scrub_log(table.path, gone)
    for file in gone:
        located(file).unlink(missing_ok=True)
    return len(gone)


def count_traces(whom: Doomed, table: ViewTable) -> int:
    """Return how many rows of theirs are in any file, named by a state or not."""
    present = data_files(table.path)
    known = sorted(present & named_files(table.path))
    found = whom.count(known)
    for file in present.difference(known):
        with suppress(duckdb.Error):  # of one that is being written, rows aren't in history yet
            found += whom.count([file])
    return found


def scrub_log(table: Location, files: Collection[str]) -> None:
    """Take the statistics of files that are to be erased out of the log: least and greatest values are values, too.

    The states stay as they are: statistics are optional in the protocol, and nothing here searches old states by
    them. Checkpoints of older tables repeat what entries say; since every entry is kept, they are made anew.
    """
    entries, paths = table / "_delta_log", {file.removeprefix(f"{table}/") for file in files}
    if not paths:
        return
    for entry in entries.glob("*.json"):
        lines = log_lines(entry)
        scrubbed = [_without_statistics(line, paths) for line in lines]
        if scrubbed != lines:
            _replace(entry, ("\n".join(scrubbed) + "\n").encode())
    checkpoints = [path for path in entries.glob("*.checkpoint*.parquet") if _has_statistics(path)]
    if checkpoints:
        # What leads to a checkpoint goes before it does; who has followed it already looks again (`open_table`).
        for path in (entries / "_last_checkpoint", *checkpoints):
            path.unlink(missing_ok=True)
        open_table(table).create_checkpoint()


def _replace(entry: Location, data: bytes) -> None:
    """Write an entry of the log anew, so that nobody sees a part of it."""
    if isinstance(entry, ObjectPath):
        entry.write_bytes(data)
        return
    unfinished = entry.with_suffix(f".{uuid.uuid4().hex}.scrubbed")
    unfinished.write_bytes(data)
    unfinished.replace(entry)


def _has_statistics(checkpoint: Location) -> bool:
    added = parquet_file(str(checkpoint)).schema_arrow.field("add").type
    return any(added.field(number).name.startswith("stats") for number in range(added.num_fields))


def _without_statistics(line: str, paths: Collection[str]) -> str:
    """Return a line of the log without statistics if it is about one of some files, else as it is."""
    action = json.loads(line)
    about = action.get("add") or action.get("remove") or {}
    if unquote(about.get("path", "")) not in paths or about.pop("stats", None) is None:
        return line
    return json.dumps(action, separators=(",", ":"))
