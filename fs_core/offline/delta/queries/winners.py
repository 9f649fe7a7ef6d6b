"""Winners of whole histories in DuckDB: found among the clocks alone, then their rows streamed in the order of seq."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.offline.delta.failures import as_store_error
from fs_core.offline.delta.layout import as_declared, by_recency, month_of
from fs_core.offline.duckdb import connect, moment, quoted, scan
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema
from fs_core.values.dtypes import storage_type

BATCH_ROWS = 10_000
"""Rows of a batch: what a reader holds in memory at a time."""
_FEW = 0.1  # of the known entities: as long as no more were unknown, looking for those first saves time


@dataclass(frozen=True)
class Candidates:
    """The rows that a run considers.

    Attributes:
        view: whose history.
        new: files that the last run didn't read: everything available by `until` counts.
        seen: files that it read: only what became available since counts.
        since: where the last run stood, microseconds; None if there was none, and no file was seen.
        until: where this one stands, microseconds.
        chosen: whether only the entities of the table `fs_wanted` count.
    """

    view: FeatureView
    new: Sequence[str]
    seen: Sequence[str]
    since: int | None
    until: int
    chosen: bool = False

    @property
    def files(self) -> list[str]:
        """Every file."""
        return [*self.new, *self.seen]

    def divided(self, most: int) -> list[Candidates]:
        """Return the rows in up to so many parts, each of as many files, whose months follow one another."""
        files = sorted(self.files, key=month_of)
        count = min(most, len(files))
        return [self._of(files[n * len(files) // count : (n + 1) * len(files) // count]) for n in range(count)]

    def _of(self, files: Sequence[str]) -> Candidates:
        chosen = set(files)
        return replace(self, new=[f for f in self.new if f in chosen], seen=[f for f in self.seen if f in chosen])

    def rows(self) -> str:
        """Return the query for the rows, in `history_schema(view)`."""
        return self._query(history_schema(self.view).names, f"{AVAILABLE_AT} <= {moment(self.until)}")

    def keys(self) -> str:
        """Return the query for their keys, among those of rows that become available later: clocks aren't read."""
        return self._query(list(self.view.keys), "true")

    def parts(self) -> list[Candidates]:
        """Return the rows in parts, later event times first; each part covers twice the months of the one before."""
        return [self._of(group) for group in by_recency(self.files)]

    def _query(self, names: Sequence[str], available: str) -> str:
        listed = ", ".join(map(quoted, names))
        queries = [rows_sql(self.view, self.new, available, names)] if self.new else []
        if self.seen and self.since is not None:
            became = f"{AVAILABLE_AT} > {moment(self.since)} AND {AVAILABLE_AT} <= {moment(self.until)}"
            queries.append(rows_sql(self.view, self.seen, became, names))
        every = " UNION ALL ".join(f"SELECT * FROM {query}" for query in queries)
        chosen = f"SEMI JOIN fs_wanted USING ({_keys(self.view)})" if self.chosen else ""
        return f"SELECT {listed} FROM ({every}) {chosen}"


def rows_sql(view: FeatureView, files: Sequence[str], where: str, columns: Sequence[str] | None = None) -> str:
    """Return history rows of some files as a subquery, with all columns unless some are named.

    Args:
        view: whose rows.
        files: paths of Parquet files.
        where: a condition in SQL.
        columns: those wanted; None for all.
    """
    names = ", ".join(quoted(name) for name in columns or history_schema(view).names)
    return f"(SELECT {names} FROM {scan(files)} WHERE {where})"


def winners_among(
    candidates: Candidates,
    after: int | None,
    recent: int | None,
    happened: int | None,
    entities: pa.Table | None = None,
) -> tuple[pa.RecordBatchReader, int]:
    """Return the rows that `OfflineStore.winners` promises, and how many they are.

    Args:
        candidates: among which rows to look.
        after: as in `OfflineStore.winners`.
        recent: as in `OfflineStore.winners`.
        happened: as in `OfflineStore.winners`.
        entities: as in `OfflineStore.winners`.

    Raises:
        OfflineStoreError: a file can't be read; while reading the rows too.
    """
    schema, wrong = history_schema(candidates.view), "can't read its history"
    if not candidates.files:
        return pa.RecordBatchReader.from_batches(schema, []), 0
    with as_store_error(candidates.view, wrong):
        connection = connect()
        chosen = choose(connection, candidates, entities)
        total = find_winners(connection, chosen, after, recent, happened)
        if not total:
            connection.close()
            return pa.RecordBatchReader.from_batches(schema, []), 0

    def rows() -> Iterator[pa.RecordBatch]:
        with as_store_error(candidates.view, wrong), connection:
            yield from stream_winners(connection, chosen, by_entity=happened is not None)

    return pa.RecordBatchReader.from_batches(schema, rows()), total


def choose(connection: duckdb.DuckDBPyConnection, candidates: Candidates, entities: pa.Table | None) -> Candidates:
    """Return those candidates that belong to some entities; None means all.

    Args:
        connection: DuckDB's.
        candidates: among which rows winners are looked for.
        entities: key columns of those wanted; None for all.
    """
    if entities is None:
        return candidates
    types = candidates.view.keys.items()
    connection.register("fs_wanted", pa.table({name: entities[name].cast(storage_type(t)) for name, t in types}))
    return replace(candidates, chosen=True)


def find_winners(
    connection: duckdb.DuckDBPyConnection,
    candidates: Candidates,
    after: int | None,
    recent: int | None,
    happened: int | None = None,
) -> int:
    """Find the seqs of each entity's winner, keep those after one in a temporary table, return how many there are.

    With `recent`, also those of the winners at that moment, and of every candidate available later.

    Args:
        connection: DuckDB's.
        candidates: among which rows to look.
        after: leave out seqs up to this one; None for none.
        recent: microseconds since 1970-01-01 UTC; None for the winners alone.
        happened: also every candidate with a later event time, microseconds; None for no others.
    """
    found = [_latest(connection, candidates, "fs_latest")]
    if recent is not None:
        found.append(_latest(connection, replace(candidates, until=min(recent, candidates.until)), "fs_recent"))
        later = f"{AVAILABLE_AT} > {moment(recent)}"
        later += "" if happened is None else f" OR {EVENT_TIME} > {moment(happened)}"
        parts = enumerate(candidates.parts())
        found += [f"SELECT {SEQ}, {number} FROM ({part.rows()}) WHERE {later}" for number, part in parts]
    kept = "" if after is None else f"WHERE __s > {after}"
    return _make(connection, "fs_winners", f"SELECT DISTINCT __s, __part FROM ({' UNION ALL '.join(found)}) {kept}")


def _latest(connection: duckdb.DuckDBPyConnection, candidates: Candidates, table: str) -> str:
    """Return the query for the seq of each entity's winner, and the number of the part that it is in.

    The first part with candidates of an entity holds its winner. So of earlier months mostly the keys are
    read, to see that every one of them is known; no longer so where many weren't.

    Args:
        connection: DuckDB's.
        candidates: among which rows to look.
        table: the name of a temporary table for what is found where there are several parts.
    """
    view, keys, look = candidates.view, _keys(candidates.view), True
    first, *earlier = candidates.parts()
    newest = f"SELECT {keys}, __s, 0 AS __part FROM ({_winners_sql(view, first.rows())})"
    if not earlier:
        return f"SELECT __s, __part FROM ({newest})"
    known = _make(connection, table, newest)
    for number, part in enumerate(earlier, start=1):
        left = f"ANTI JOIN {table} USING ({keys})"
        if look:
            unknown = _make(connection, "fs_unknown", f"SELECT DISTINCT {keys} FROM ({part.keys()}) {left}")
            if not unknown:
                continue
            left = f"SEMI JOIN fs_unknown USING ({keys})"
            look = unknown < _FEW * known
        won = _winners_sql(view, f"SELECT * FROM ({part.rows()}) {left}")
        known += _count(connection.execute(f"INSERT INTO {table} SELECT {keys}, __s, {number} FROM ({won})"))
    return f"SELECT __s, __part FROM {table}"


def _winners_sql(view: FeatureView, rows: str) -> str:
    """Return the query for the keys and the seq of each entity's winner among some rows.

    A greatest event time a key is found by hashing; the few rows that share it are compared afterwards.
    That takes a ninth of the time of a window over whole rows, and memory for keys and clocks alone.
    """
    keys = [quoted(name) for name in view.keys]
    named = ", ".join(keys)
    same = " AND ".join(f"c.{key} = latest.{key}" for key in keys)
    return f"""
        WITH c AS ({rows}),
        latest AS (SELECT {named}, max({EVENT_TIME}) AS __latest FROM c GROUP BY {named}),
        tied AS (
            SELECT {", ".join(f"c.{key}" for key in keys)}, c.{AVAILABLE_AT} AS __a, c.{SEQ} AS __s
            FROM c JOIN latest ON {same} AND c.{EVENT_TIME} = latest.__latest
        )
        SELECT {named}, __s FROM tied QUALIFY row_number() OVER (PARTITION BY {named} ORDER BY __a DESC, __s DESC) = 1
        """


def stream_winners(
    connection: duckdb.DuckDBPyConnection, candidates: Candidates, *, by_entity: bool = False
) -> Iterator[pa.RecordBatch]:
    """Yield the rows that `find_winners` found, one at least, in `history_schema(view)`, ordered by seq.

    Args:
        connection: DuckDB's.
        candidates: among which rows `find_winners` looked.
        by_entity: whether those of one entity come together.
    """
    view, parts = candidates.view, candidates.parts()
    schema = history_schema(view)
    types = {field.name: field.type for field in schema}
    numbers, found = [(0,)], []
    if len(parts) > 1:
        numbers = connection.execute("SELECT DISTINCT __part FROM fs_winners").fetchall()
    for (number,) in numbers:
        mine = f"{SEQ} IN (SELECT __s FROM fs_winners WHERE __part = {number})"
        found.append(f"SELECT * FROM {rows_sql(view, parts[number].files, mine)}")
    order = f"{_keys(view)}, {SEQ}" if by_entity else SEQ
    for batch in connection.sql(f"{' UNION ALL '.join(found)} ORDER BY {order}").to_arrow_reader(BATCH_ROWS):
        yield from as_declared(pa.Table.from_batches([batch]), types).cast(schema).combine_chunks().to_batches()


def _keys(view: FeatureView) -> str:
    return ", ".join(map(quoted, view.keys))


def _make(connection: duckdb.DuckDBPyConnection, table: str, query: str) -> int:
    """Keep the rows of a query in a temporary table; return how many they are."""
    return _count(connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}"))


def _count(changed: duckdb.DuckDBPyConnection) -> int:
    """Return how many rows a statement has added."""
    return int(changed.fetchall()[0][0])
