"""Erasing entities from a Delta table: their rows from the newest state, and every older file that holds one.

A file of an older state goes only if it holds such a row, so every state that doesn't need it can still be read.
Rows are named by seq: what Delta's log says of a deletion stays for ever, and seqs are nobody's data.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fs_core.offline.delta.log import log_actions, log_lines, open_table
from fs_core.offline.duckdb import connect, literal, quoted
from fs_core.rule import SEQ
from fs_core.values.dtypes import storage_type

T = TypeVar("T")

_FILES_A_QUERY = 500
_UNFINISHED_SECONDS = 3600.0  # a file that no state names and that is older was left by a writer that died
_SKEW_SECONDS = 60.0  # between this machine's clock and the disk's


def seqs_of(files: Sequence[str], entities: pa.Table) -> list[int]:
    """Return the seqs of entities' rows in some files, in order."""
    found = [row[0] for rows in _search(files, entities, SEQ) for row in rows]
    return sorted(int(seq) for seq in found)


def holders(files: Sequence[str], entities: pa.Table) -> list[str]:
    """Return which files hold a row of an entity."""
    return sorted(str(row[0]) for rows in _search(files, entities, "DISTINCT filename") for row in rows)


def unnamed_holders(files: Sequence[str], entities: pa.Table) -> dict[str, int]:
    """Return which files that no state names hold rows of entities, and how many; a writer may remove its own now."""
    found = {}
    for file in files:
        try:
            rows = len(seqs_of([file], entities))
        except duckdb.Error:
            if Path(file).exists():
                raise
            continue
        if rows:
            found[file] = rows
    return found


def known_files(place: Path) -> set[str]:
    """Return every file that any state ever named."""
    named = set()
    for entry in (place / "_delta_log").glob("*.json"):
        for action in log_actions(entry):
            added = action.get("add")
            if added:
                named.add(f"{place}/{unquote(added['path'])}")
    return named


def present_files(place: Path) -> tuple[list[str], list[str]]:
    """Return the files on disk that a state named, and the others that a writer left unfinished and whole."""
    known = known_files(place)
    present = sorted(str(path) for path in place.rglob("*.parquet") if "_delta_log" not in path.parts)
    return [f for f in present if f in known], [f for f in present if f not in known and _is_whole(f)]


def searched(place: Path, search: Callable[[list[str], list[str]], T]) -> T:
    """Return what a search finds in `present_files`; again, where one is deleted meanwhile, as others do who erase."""
    while True:
        named, others = present_files(place)
        try:
            return search(named, others)
        except duckdb.Error:
            if all(map(os.path.exists, named)):
                raise


def scrub_log(place: Path, files: Sequence[str]) -> None:
    """Take the statistics of files that are to be erased out of the log: least and greatest values are values, too.

    The states stay as they are: statistics are optional in the protocol, and nothing here searches by them. An entry
    that tells of such a file loses those of all its files: whoever else scrubs it at the same moment, for somebody
    else, then writes the same, and doesn't bring back what was taken out here.
    Checkpoints of older tables repeat what entries say; since every entry is kept, they are made anew.
    """
    log, paths = place / "_delta_log", {Path(file).relative_to(place).as_posix() for file in files}
    if not paths:
        return
    for entry in log.glob("*.json"):
        lines = log_lines(entry)
        scrubbed = _without_statistics(lines, paths)
        if scrubbed != lines:
            unfinished = entry.with_suffix(f".{uuid.uuid4().hex}.scrubbed")
            unfinished.write_bytes(("\n".join(scrubbed) + "\n").encode())
            unfinished.replace(entry)
    checkpoints = [path for path in log.glob("*.checkpoint*.parquet") if _has_statistics(path)]
    if checkpoints:
        # What leads to a checkpoint goes before it does; who has followed it already looks again (`open_table`).
        for path in (log / "_last_checkpoint", *checkpoints):
            path.unlink(missing_ok=True)
        open_table(place).create_checkpoint()


def _has_statistics(checkpoint: Path) -> bool:
    added = pq.read_schema(checkpoint).field("add").type
    return any(added.field(place).name.startswith("stats") for place in range(added.num_fields))


def _without_statistics(lines: list[str], paths: Collection[str]) -> list[str]:
    """Return an entry's lines without statistics; as they are if they tell of none of some files."""
    actions = [json.loads(line) for line in lines]
    told = [action.get("add") or action.get("remove") or {} for action in actions]
    if not any(unquote(about.get("path", "")) in paths for about in told):
        return lines
    having = [about.pop("stats", None) is not None for about in told]
    pairs = zip(lines, actions, having, strict=True)
    return [json.dumps(action, separators=(",", ":")) if had else line for line, action, had in pairs]


def remove_attempt(place: Path, rows: pa.Table, began: float) -> bool:
    """Remove what a failed attempt to append rows has left: nobody else would dare to for an hour.

    Nobody can have copied rows that no state ever had: whatever file holds one is the attempt's. If a state had them,
    the attempt failed after its commit, when it looked after the log, and everything stays.

    Args:
        place: the table's directory.
        rows: the rows.
        began: when the first attempt began, seconds since 1970.

    Returns:
        Whether a state had the rows, so that they must not be appended again.
    """
    written = [p for p in place.rglob("*.parquet") if "_delta_log" not in p.parts]
    recent = sorted(str(path) for path in written if _written(path) > began - _SKEW_SECONDS)
    found = _attempted(recent, rows.select([SEQ]))
    if not known_files(place).isdisjoint(found):  # asked after the disk: what somebody has committed by then is named
        return True
    for file in found:
        Path(file).unlink(missing_ok=True)
    return False


def _attempted(files: Sequence[str], seqs: pa.Table) -> Collection[str]:
    """Return which of some files, that perhaps nobody has finished, hold one of some seqs."""
    try:
        return holders(files, seqs)
    except duckdb.Error:  # one is being written, or its writer has removed it
        return unnamed_holders([file for file in files if _is_whole(file)], seqs)


def is_abandoned(file: str) -> bool:
    """Tell whether no writer can be about to commit a file that no state names."""
    return time.time() - _written(Path(file)) > _UNFINISHED_SECONDS


def _written(file: Path) -> float:
    """Return when a file was written, seconds since 1970; one that its writer has removed meanwhile, now."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _search(files: Sequence[str], entities: pa.Table, wanted: str) -> Iterator[list[tuple[Any, ...]]]:
    if not files or entities.num_rows == 0:
        return
    same = " AND ".join(f"history.{quoted(name)} = doomed.{quoted(name)}" for name in entities.column_names)
    stored = pa.table({name: entities[name].cast(storage_type(entities[name].type)) for name in entities.column_names})
    with connect() as connection:
        connection.register("doomed", stored)
        for start in range(0, len(files), _FILES_A_QUERY):
            listed = ", ".join(literal(f) for f in files[start : start + _FILES_A_QUERY])
            read = f"read_parquet([{listed}], hive_partitioning = false, filename = true)"
            yield connection.sql(f"SELECT {wanted} FROM {read} AS history SEMI JOIN doomed ON {same}").fetchall()


def _is_whole(file: str) -> bool:
    with connect() as connection:
        try:
            connection.sql(f"SELECT count(*) FROM parquet_file_metadata({literal(file)})").fetchall()
        except duckdb.Error:
            return False  # still being written, or never finished: nobody reads it
    return True
