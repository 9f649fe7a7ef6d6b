"""Replacing some rows of a Delta table by others in one commit of the library's, beside writers who append.

The library can overwrite the rows that fulfil a condition. It refuses the commit where rows which may fulfil it were
appended since, judging by the files' statistics. So the condition is one on seqs, which no append shares with
another: the seqs of what is to go, as a few ranges. All other rows in the ranges are written again. Neither the
condition nor anything else that the log keeps for ever is somebody's data.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import DeltaError

from fs_core.definitions import FeatureView
from fs_core.offline.contract import Snapshot
from fs_core.offline.delta.layout import MONTH, SAMPLE, as_declared, month_of, storage_schema, without_dictionary
from fs_core.offline.delta.log import open_table
from fs_core.offline.duckdb import literal, quoted, scan
from fs_core.offline.objects.path import Location
from fs_core.offline.objects.reading import parquet_file
from fs_core.rule import SEQ

log = logging.getLogger("fs_core")

FILE_BYTES = 256 << 20
"""Of a file that is written when others are replaced, about."""

HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
"""Nothing that may fail happens within a commit; see `checkpoint`."""

CHECKPOINT_INTERVAL = 10
"""Opening replays the log from the last checkpoint: with one every 100 states, an append takes 2.5 times as long."""

RETRIES = 1000
"""Of a commit that others who append overtake; nothing is written anew for one."""

_RANGES = 16  # of seqs in a condition: with more than 20 alternatives the library looks at no statistics
_BATCH_ROWS = 100_000

Seqs = np.ndarray[Any, np.dtype[np.int64]]


def replace_rows(
    connection: duckdb.DuckDBPyConnection,
    view: FeatureView,
    table: Location,
    state: Snapshot,
    files: Sequence[str],
    *,
    seqs: Seqs,
    months: Collection[str],
    rows: str,
) -> None:
    """Commit a state in which the rows with some seqs are replaced by those of a query.

    Memory: some row groups.

    Args:
        connection: what the query is asked of.
        view: whose history.
        table: the table's directory.
        state: the state to start from.
        files: its files.
        seqs: those of the rows that are to go, at least one; several rows may have the same.
        months: in which they lie.
        rows: the query, over the table `history`: all columns of files that may hold rows with a seq in question.

    Raises:
        CommitFailedError: others have appended rows whose seqs lie in between, or replaced files.
    """
    wanted = " OR ".join(f"({SEQ} >= {first} AND {SEQ} <= {last})" for first, last in ranges(np.unique(seqs)))
    names = ", ".join(quoted(field.name) for field in storage_schema(view))
    month = f"substr(list_extract(string_split(filename, '/'), -2), {len(MONTH) + 2}) AS {MONTH}"
    read = scan([file for file in files if month_of(file) in months], named=True)
    history = f"WITH history AS (SELECT {names}, {month} FROM {read} WHERE {wanted})"
    condition = f"{MONTH} IN ({', '.join(map(literal, sorted(months)))}) AND {SEQ} <= {seqs.max()} AND ({wanted})"
    opened = open_table(table, state)
    write_deltalake(
        opened,
        _reader(connection, view, f"{history} {rows}"),
        mode="overwrite",
        predicate=condition,
        target_file_size=FILE_BYTES,
        commit_properties=CommitProperties(max_commit_retries=RETRIES),
        post_commithook_properties=HOOKS,
        writer_properties=how_written(some_rows(files)),
    )
    checkpoint(opened)


def how_written(sample: pa.Table) -> WriterProperties:
    """Return how data files are written whose rows are like some."""
    plain = ColumnProperties(dictionary_enabled=False)
    return WriterProperties(column_properties=dict.fromkeys(without_dictionary(sample), plain))


def some_rows(files: Sequence[str]) -> pa.Table:
    """Return rows of the first of some files that has enough to tell others by, or no rows."""
    for file in files:
        with parquet_file(file) as opened:
            if opened.metadata.num_rows > SAMPLE:
                return pa.Table.from_batches([next(opened.iter_batches(SAMPLE + 1))])
    return pa.table({})


def ranges(seqs: Seqs) -> list[tuple[int, int]]:
    """Return a few ranges that cover some seqs, which rise: those between the widest gaps."""
    ends = np.sort(np.argsort(np.diff(seqs))[::-1][: _RANGES - 1])
    firsts, lasts = seqs[np.append(0, ends + 1)], seqs[np.append(ends, len(seqs) - 1)]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def _reader(connection: duckdb.DuckDBPyConnection, view: FeatureView, query: str) -> pa.RecordBatchReader:
    """Return the rows of a query as a table takes them, batch after batch."""
    schema = storage_schema(view).append(pa.field(MONTH, pa.string()))
    types = {field.name: field.type for field in schema}

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in connection.sql(query).to_arrow_reader(_BATCH_ROWS):
            found = as_declared(pa.Table.from_batches([batch]), types).select(schema.names)
            yield from found.cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def checkpoint(table: DeltaTable) -> None:
    """Make a checkpoint at every tenth state, after its commit stands: where that fails, the state is there as well."""
    if (table.version() + 1) % CHECKPOINT_INTERVAL:
        return
    try:
        table.create_checkpoint()
    except (DeltaError, OSError) as error:
        log.warning(
            "state %d of the history in %s is there, but no checkpoint of its log: %s. Opening it takes longer until "
            "the next one.",
            table.version(),
            table.table_uri,
            str(error).partition("\n")[0],
        )
