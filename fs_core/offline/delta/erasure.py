"""Erasing entities from a Delta table: their rows from the newest state, and every older file that holds one.

A file of an older state goes only if it holds such a row, so every state that doesn't need it can still be read.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fs_core.definitions import FeatureView
from fs_core.offline.contract import Snapshot
from fs_core.offline.delta.log import log_lines, open_table
from fs_core.offline.delta.rewriting import replace_rows
from fs_core.offline.duckdb import connect, literal, quoted
from fs_core.rule import SEQ
from fs_core.values.dtypes import storage_type

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

    def rows(self, files: Sequence[str]) -> Iterator[tuple[str, int]]:
        """Yield the file and seq of each of their rows in some files."""
        for start in range(0, len(files), _FILES_A_QUERY):
            listed = ", ".join(map(literal, files[start : start + _FILES_A_QUERY]))
            read = f"read_parquet([{listed}], hive_partitioning = false, filename = true)"
            query = f"SELECT filename, {SEQ} FROM {read} AS history SEMI JOIN fs_doomed ON {self._same}"
            yield from self._connection.sql(query).fetchall()

    def count(self, files: Iterable[str]) -> int:
        """Return how many rows of theirs are in some files, of which one that isn't whole counts none."""
        found = 0
        for file in files:
            try:
                found += sum(1 for _ in self.rows([file]))
            except duckdb.Error:  # being written: its rows aren't in history yet
                continue
        return found

    def erase(self, view: FeatureView, table: Path, state: Snapshot, files: Sequence[str], clean: set[str]) -> int:
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
        found = list(self.rows([file for file in files if file not in clean]))
        clean.update(set(files).difference(file for file, _ in found))
        if found:
            others = f"SELECT * FROM history ANTI JOIN fs_doomed ON {self._same}"
            replace_rows(self._connection, view, table, state, where=found, files=files, rows=others)
        return len(found)


@contextmanager
def doomed(entities: pa.Table) -> Iterator[Doomed]:
    """Open a connection that knows entities which are to be erased."""
    with connect() as connection:
        yield Doomed(connection, entities)


def scrub_log(table: Path, files: Collection[str]) -> None:
    """Take the statistics of files that are to be erased out of the log: least and greatest values are values, too.

    The states stay as they are: statistics are optional in the protocol, and nothing here searches old states by
    them. Checkpoints of older tables repeat what entries say; since every entry is kept, they are made anew.
    """
    entries, paths = table / "_delta_log", {Path(file).relative_to(table).as_posix() for file in files}
    if not paths:
        return
    for entry in entries.glob("*.json"):
        lines = log_lines(entry)
        scrubbed = [_without_statistics(line, paths) for line in lines]
        if scrubbed != lines:
            unfinished = entry.with_suffix(f".{uuid.uuid4().hex}.scrubbed")
            unfinished.write_bytes(("\n".join(scrubbed) + "\n").encode())
            unfinished.replace(entry)
    checkpoints = [path for path in entries.glob("*.checkpoint*.parquet") if _has_statistics(path)]
    if checkpoints:
        # What leads to a checkpoint goes before it does; who has followed it already looks again (`open_table`).
        for path in (entries / "_last_checkpoint", *checkpoints):
            path.unlink(missing_ok=True)
        open_table(table).create_checkpoint()


def _has_statistics(checkpoint: Path) -> bool:
    added = pq.read_schema(checkpoint).field("add").type
    return any(added.field(number).name.startswith("stats") for number in range(added.num_fields))


def _without_statistics(line: str, paths: Collection[str]) -> str:
    """Return a line of the log without statistics if it tells of one of some files, else as it is."""
    action = json.loads(line)
    about = action.get("add") or action.get("remove") or {}
    if unquote(about.get("path", "")) not in paths or about.pop("stats", None) is None:
        return line
    return json.dumps(action, separators=(",", ":"))
