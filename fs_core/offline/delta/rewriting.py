"""Replacing files of a Delta table by others that lack some rows, beside writers who append without pause.

The library gives up a deletion of rows as soon as anybody has committed since it began, whatever that was. Finding and
rewriting rows takes longer than others take to append, so beside steady writers it would never come to an end. But an
append contradicts no such deletion: the files that it replaces are there still. So the commit is made here, as the
protocol has it, after every state that only added files; what they added is searched next. (The library's own way to
commit ready-made files, `create_write_transaction`, doesn't see that a compaction has removed the same file.)
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.exceptions import CommitFailedError

from fs_core.offline.contract import Snapshot
from fs_core.offline.delta.log import DeltaLog, log_actions
from fs_core.rule import SEQ


def replace_without(place: Path, state: Snapshot, files: Sequence[str], seqs: Sequence[int]) -> None:
    """Commit a state whose files lack rows that a state's files have; files of earlier states stay.

    Args:
        place: the table's directory.
        state: whose files they are.
        files: which of its files have such rows.
        seqs: the rows.

    Raises:
        CommitFailedError: another writer has removed one of the files since that state, or changed the table.
    """
    written: dict[str, str | None] = {}
    try:
        for file in files:
            written[file] = _without(Path(file), pa.array(seqs, pa.int64()))
        _commit(place, state, written)
    except BaseException:
        _discard(place, [new for new in written.values() if new is not None])
        raise


def _discard(place: Path, files: Sequence[str]) -> None:
    """Remove files that were to be committed, unless they were: what failed may have done so afterwards."""
    log = DeltaLog(place)
    for new in set(files).difference(log.files(log.newest())):
        Path(new).unlink(missing_ok=True)


def _without(file: Path, seqs: pa.Array) -> str | None:
    """Write a file's other rows to a new one beside it, group by group; return that, None if no row is left."""
    new = file.with_name(f"part-00000-{uuid.uuid4()}-c000.zstd.parquet")
    try:
        with pq.ParquetFile(file) as old, pq.ParquetWriter(new, old.schema_arrow, compression="zstd") as writer:
            rows = 0
            for group in range(old.num_row_groups):
                found = old.read_row_group(group)
                kept = found.filter(pc.invert(pc.is_in(found[SEQ], value_set=seqs)))
                rows += kept.num_rows
                writer.write_table(kept)
        if rows:
            _bring_to_disk(new)
            return str(new)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    new.unlink()
    return None


def _commit(place: Path, state: Snapshot, written: Mapping[str, str | None]) -> None:
    """Commit files in place of others, after all that was committed since a state."""
    actions = [_commit_info(state, written)]
    actions += [{"remove": {**_described(place, old), "deletionTimestamp": _now()}} for old in written]
    actions += [{"add": _added(place, new)} for new in written.values() if new is not None]
    lines = [json.dumps(action, separators=(",", ":")) for action in actions]
    gone = {Path(old).relative_to(place).as_posix() for old in written}
    while True:
        state += 1
        entry = place / "_delta_log" / f"{state:020}.json"
        if not entry.exists() and _publish(entry, lines):
            return
        _refuse_conflict(entry, gone)


def _refuse_conflict(entry: Path, gone: Collection[str]) -> None:
    for action in log_actions(entry):
        if "metaData" in action or "protocol" in action or unquote(action.get("remove", {}).get("path", "")) in gone:
            raise CommitFailedError("another writer has changed what was to be replaced")


def _publish(entry: Path, lines: Sequence[str]) -> bool:
    """Make a log entry, whole or not at all; tell whether nobody had made it before. The library does the same."""
    unfinished = entry.with_name(f"{entry.stem}.{uuid.uuid4().hex}.tmp")
    try:
        unfinished.write_text("\n".join(lines) + "\n")
        _bring_to_disk(unfinished)
        os.link(unfinished, entry)
    except FileExistsError:
        return False
    finally:
        unfinished.unlink(missing_ok=True)
    _bring_to_disk(entry.parent)
    return True


def _commit_info(state: Snapshot, written: Mapping[str, str | None]) -> dict[str, Any]:
    added = sum(new is not None for new in written.values())
    metrics = {"num_added_files": added, "num_removed_files": len(written)}
    about = {"timestamp": _now(), "operation": "DELETE", "operationParameters": {}, "readVersion": state}
    return {"commitInfo": {**about, "isBlindAppend": False, "engineInfo": "fs_core", "operationMetrics": metrics}}


def _added(place: Path, new: str) -> dict[str, Any]:
    # Least and greatest values are left out: nothing here searches by them, and they are somebody's data.
    statistics = json.dumps({"numRecords": pq.read_metadata(new).num_rows})
    return {**_described(place, new), "modificationTime": _now(), "stats": statistics}


def _described(place: Path, file: str) -> dict[str, Any]:
    """Return what an action says of a file: its path, its partition (which is in the path), its size."""
    path = Path(file).relative_to(place)
    partition = dict(part.split("=", 1) for part in path.parent.parts)
    return {
        "path": quote(path.as_posix(), safe="/="),
        "partitionValues": {unquote(name): unquote(value) for name, value in partition.items()},
        "size": Path(file).stat().st_size,
        "dataChange": True,
    }


def _bring_to_disk(path: Path) -> None:
    """Wait until a file, or a directory's entries, would survive a loss of power: what they replace is deleted next."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _now() -> int:
    return time.time_ns() // 1_000_000
