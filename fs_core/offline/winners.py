"""Winners of whole histories in DuckDB: found among the clocks alone, then their rows streamed in the order of seq."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa

from fs_core.asof import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema
from fs_core.definitions import FeatureView
from fs_core.dtypes import storage_type
from fs_core.offline.connection import literal, moment, quoted
from fs_core.offline.layout import as_declared

BATCH_ROWS = 10_000
"""Rows of a batch: what a reader holds in memory at a time."""


def candidates_sql(
    view: FeatureView, new: Sequence[str], seen: Sequence[str], *, since: int | None, until: int
) -> str | None:
    """Return the query for a run's candidates, None if no file can hold one.

    Args:
        view: whose history.
        new: files that the last run didn't read: everything available by `until` counts.
        seen: files that it read: only what became available since counts.
        since: where the last run stood, microseconds; None if there was none.
        until: where this one stands, microseconds.
    """
    parts = [rows_sql(view, new, f"{AVAILABLE_AT} <= {moment(until)}")] if new else []
    if seen and since is not None:
        became = f"{AVAILABLE_AT} > {moment(since)} AND {AVAILABLE_AT} <= {moment(until)}"
        parts.append(rows_sql(view, seen, became))
    return " UNION ALL ".join(f"SELECT * FROM {part}" for part in parts) or None


def rows_sql(view: FeatureView, files: Sequence[str], where: str) -> str:
    """Return history rows of some files as a subquery."""
    names = ", ".join(quoted(name) for name in history_schema(view).names)
    listed = ", ".join(literal(f) for f in files)
    return f"(SELECT {names} FROM read_parquet([{listed}], hive_partitioning = false) WHERE {where})"


def only_of(
    connection: duckdb.DuckDBPyConnection, view: FeatureView, candidates: str, entities: pa.Table | None
) -> str:
    """Return the query for those candidates that belong to some entities; None means all."""
    if entities is None:
        return candidates
    wanted = pa.table({name: entities[name].cast(storage_type(dtype)) for name, dtype in view.keys.items()})
    connection.register("fs_wanted", wanted)
    same = " AND ".join(f"every.{quoted(name)} = fs_wanted.{quoted(name)}" for name in view.keys)
    return f"SELECT every.* FROM ({candidates}) AS every SEMI JOIN fs_wanted ON {same}"


def find_winners(
    connection: duckdb.DuckDBPyConnection, view: FeatureView, candidates: str, after: int | None, recent: int | None
) -> int:
    """Find the seqs of each entity's winner, keep those after one in a temporary table, return how many there are.

    With `recent`, also those of the winners at that moment, and of every candidate available later.
    """
    found = [_winners_sql(view, candidates)]
    if recent is not None:
        found.append(_winners_sql(view, f"SELECT * FROM ({candidates}) WHERE {AVAILABLE_AT} <= {moment(recent)}"))
        found.append(f"SELECT {SEQ} AS __s FROM ({candidates}) WHERE {AVAILABLE_AT} > {moment(recent)}")
    union = " UNION ".join(f"({sql})" for sql in found)
    kept = "" if after is None else f"WHERE __s > {after}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE fs_winners AS SELECT __s FROM ({union}) {kept}")
    return int(connection.execute("SELECT count(*) FROM fs_winners").fetchall()[0][0])


def _winners_sql(view: FeatureView, candidates: str) -> str:
    """Return the query for the seq of each entity's winner.

    A greatest event time a key is found by hashing; the few rows that share it are told apart afterwards.
    That takes a ninth of the time of a window over whole rows, and memory for keys and clocks alone.
    """
    keys = [quoted(name) for name in view.keys]
    named = ", ".join(keys)
    same = " AND ".join(f"c.{key} = latest.{key}" for key in keys)
    return f"""
        WITH c AS ({candidates}),
        latest AS (SELECT {named}, max({EVENT_TIME}) AS __latest FROM c GROUP BY {named}),
        tied AS (
            SELECT {", ".join(f"c.{key}" for key in keys)}, c.{AVAILABLE_AT} AS __a, c.{SEQ} AS __s
            FROM c JOIN latest ON {same} AND c.{EVENT_TIME} = latest.__latest
        )
        SELECT __s FROM tied QUALIFY row_number() OVER (PARTITION BY {named} ORDER BY __a DESC, __s DESC) = 1
        """


def stream_winners(
    connection: duckdb.DuckDBPyConnection, view: FeatureView, candidates: str
) -> Iterator[pa.RecordBatch]:
    """Yield the rows that `find_winners` found, in `history_schema(view)`, ordered by seq."""
    schema = history_schema(view)
    types = {field.name: field.type for field in schema}
    sql = f"SELECT * FROM ({candidates}) WHERE {SEQ} IN (SELECT __s FROM fs_winners) ORDER BY {SEQ}"
    for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS):
        yield from as_declared(pa.Table.from_batches([batch]), types).cast(schema).combine_chunks().to_batches()
