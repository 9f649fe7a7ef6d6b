"""Running the source of a view: files become tables, SQL becomes rows."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from fs_core.definitions import SQL, FeatureView, Source, StreamSource
from fs_core.errors import DataError, SchemaError, SourceError
from fs_core.offline.duckdb import connect, moment, quoted
from fs_core.sources.files import files_of
from fs_core.sources.query import named, names_in, referenced_tables
from fs_core.sources.sql import database_of, define_query, explained, parquet
from fs_core.sources.tables import Table, Tables, query_of, tables_read
from fs_core.sources.text.csv import agreed, csv_batches
from fs_core.sources.text.inference import column_of_any_type
from fs_core.sources.text.json import json_batches
from fs_core.sources.text.parsing import Kinds
from fs_core.sources.text.spool import text_files
from fs_core.values.times import to_utc_micros, within

__all__ = [
    "Times",
    "between",
    "columns_of",
    "joined",
    "named",
    "read_file",
    "referenced_tables",
    "source_parts",
    "wanted_columns",
]


_PART_ROWS = 500_000


class Times(NamedTuple):
    """Which rows are asked for: by their column of event times, from one moment on and before another.

    Attributes:
        column: of event times.
        start: microseconds; None for all before `end`.
        end: microseconds; None for all from `start` on.
    """

    column: str
    start: int | None
    end: int | None


def source_parts(
    view: FeatureView,
    tables: Tables,
    directory: Path,
    *,
    start: int | None = None,
    end: int | None = None,
) -> Iterator[pa.Table]:
    """Yield what a view's source yields part after part, at least one: exactly the view's columns, in its types.

    Memory holds one part of Parquet and SQL, all of CSV and JSON files.
    A file means the same whether it is read as it is or by SQL: see `fs_core.sources.text.inference`.

    Args:
        view: whose source to run.
        tables: the registered sources, and views, by name.
        directory: where relative paths are looked up after the working directory.
        start: microseconds; leave out earlier event times.
        end: microseconds; leave out this event time and later ones.

    Raises:
        SourceError: there is no source, a file is missing, the SQL fails or reaches beyond its sources, or its columns
            aren't the view's.
        SchemaError: a value in a CSV or JSON isn't of its declared type; names the row (from 0).
    """
    times = Times(view.event_timestamp, start, end)
    if isinstance(view.source, SQL):
        yield from _sql_rows(view, view.source.query, tables, directory, times)
    elif isinstance(view.source, Source):
        registered = tables.get(view.source.name)
        source = registered if isinstance(registered, Source) else view.source
        if source.sql is not None:
            whole: Tables = ChainMap({source.name: source}, tables)  # type: ignore[arg-type]
            yield from _sql_rows(view, _columns_from(view, source), whole, directory, times)
            return
        if source.url is not None:
            yield from _warehouse_rows(view, source, times)
            return
        read = _parquet_rows if source.format == "parquet" else _text_rows
        yield from read(view, source, directory, times)
    elif isinstance(view.source, StreamSource):
        raise SourceError(f"view {view.name!r} has a stream for a source: store.ingest reads it, or fs ingest.")
    else:
        raise SourceError(f"view {view.name!r} has no source to run. Write or push its rows, or declare a source.")


def query_run(defined: FeatureView | Source) -> str | None:
    """Return the SQL that yields a view's or source's rows; None where it has none.

    A view whose source has SQL takes its columns from that, among others.
    """
    if isinstance(defined, FeatureView) and isinstance(defined.source, Source) and defined.source.sql is not None:
        return _columns_from(defined, defined.source)
    return query_of(defined)


def _columns_from(view: FeatureView, source: Source) -> str:
    return f"SELECT {', '.join(map(quoted, wanted_columns(view)))} FROM {quoted(source.name)}"


def names_meant(defined: FeatureView | Source, query: str, read: Iterable[Table]) -> set[str]:
    """Return the names that columns of what a query reads may have.

    Args:
        defined: whose query.
        query: one SELECT.
        read: what it reads.
    """
    queries = [query, *(table.sql for table in read if isinstance(table, Source) and table.sql is not None)]
    wanted = wanted_columns(defined) if isinstance(defined, FeatureView) else []
    return set(wanted).union(*(names_in(each) for each in queries))


def _sql_rows(view: FeatureView, query: str, tables: Tables, directory: Path, times: Times) -> Iterator[pa.Table]:
    read = tables_read(f"view {view.name!r}", query, tables)
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(database_of(read, directory, names_meant(view, query, read)))
        except (duckdb.Error, SchemaError, SourceError) as error:
            raise _failed(view, error) from error
        try:
            rows = define_query(connection, query)
            check_columns(view, rows.columns)
            yield from _computed(view, rows, times)
        except duckdb.Error as error:
            raise _failed(view, explained(connection, error)) from error


def _parquet_rows(view: FeatureView, source: Source, directory: Path, times: Times) -> Iterator[pa.Table]:
    with connect() as connection:
        try:
            rows = connection.sql(f"FROM {parquet(files_of(source, directory))}")
            check_columns(view, rows.columns, exactly=False)
            yield from _computed(view, rows, times)
        except duckdb.Error as error:
            raise _failed(view, error) from error


def _warehouse_rows(view: FeatureView, source: Source, times: Times) -> Iterator[pa.Table]:
    """Yield the wanted columns and rows of a database's query; the database leaves out most of the others."""
    from fs_core.sources.warehouse.read import Bounds, parts

    try:
        for part in parts(source, Bounds(*times)):
            check_columns(view, part.column_names, exactly=False)
            yield between(part.select(wanted_columns(view)), times)
    except SourceError as error:
        raise _failed(view, error) from error.__cause__


def _text_rows(view: FeatureView, source: Source, directory: Path, times: Times) -> Iterator[pa.Table]:
    """Yield the wanted columns and rows of a source of CSV or JSON files."""
    try:
        rows = joined([between(batch, times) for batch in _batches(source, directory, _kinds([view]), every=False)])
    except (SchemaError, SourceError) as error:
        raise _failed(view, error) from error
    check_columns(view, rows.column_names, exactly=False)
    yield rows.select(wanted_columns(view))


def _computed(view: FeatureView, rows: duckdb.DuckDBPyRelation, times: Times) -> Iterator[pa.Table]:
    """Yield the wanted columns and rows of a relation."""
    column = f"{quoted(times.column)}::TIMESTAMPTZ"  # DuckDB cuts nanoseconds off, which round up here
    for bound, sign in ((None if times.start is None else times.start - 1, ">="), (times.end, "<")):
        if bound is not None:  # a time that is null stays, to be refused
            rows = rows.filter(f"{column} {sign} {moment(bound)} OR {column} IS NULL")
    read = rows.project(", ".join(map(quoted, wanted_columns(view)))).to_arrow_reader(_PART_ROWS)
    for part in chain([read.schema.empty_table()], map(pa.table, read)):
        yield between(part, times)


def _failed(view: FeatureView, error: Exception | str) -> SchemaError | SourceError:
    kind = SchemaError if isinstance(error, SchemaError) else SourceError
    return kind(f"view {view.name!r}: its source failed: {error}")


def read_file(
    views: Iterable[FeatureView],
    path: Path,
    *,
    spine: str | None = None,
    file_format: str | None = None,
    keys: Mapping[str, pa.DataType] | None = None,
) -> pa.Table:
    """Return the rows of a Parquet, CSV or JSON file, or several, every column of them.

    Keys, features and times are read as they are declared, digit for digit; times are ISO 8601, UTC without an offset.

    Args:
        views: whose keys and features the file may hold.
        path: the file, a glob of several, or a directory that holds them.
        spine: the column of moments, if the file is a spine: they round down. Otherwise the file holds facts, and the
            times that the views name round up.
        file_format: `parquet`, `csv` or `json`; by default what the path's ending says.
        keys: columns that hold the views' keys under other names, and their types.

    Raises:
        DefinitionError: the format doesn't follow from the file's ending.
        SourceError: the file is missing, empty, or not what its ending says.
        SchemaError: a value in a CSV or JSON isn't of its column's type; names the row (from 0).
    """
    source = Source("file", path=path, format=file_format)
    if path.is_file() and not path.stat().st_size:
        raise SourceError(f"{str(path)!r} is empty: not even columns are named. A file without rows still names them.")
    if source.format != "parquet":
        kinds = {**_kinds(views, spine), **(keys or {})}
        rows = joined(list(_batches(source, path.parent, kinds, every=True)))
        return _other_columns_typed(rows, kinds) if source.format == "csv" else rows
    with connect() as connection:
        try:
            return connection.sql(f"FROM {parquet(files_of(source, path.parent))}").to_arrow_table()
        except duckdb.Error as error:
            raise SourceError(f"can't read {str(path)!r} as {source.format}: {error}") from error


def _kinds(views: Iterable[FeatureView], spine: str | None = None) -> Kinds:
    """Return how to read the columns of views: as declared, and the clocks of facts, or a spine's, as moments."""
    views = list(views)
    clocks = [name for view in views for name in (view.event_timestamp, view.available_at) if name]
    moments: Kinds = dict.fromkeys(clocks, "up") if spine is None else {spine: "down"}
    return {**moments, **{name: dtype for view in views for name, dtype in {**view.keys, **view.stored}.items()}}


def _batches(source: Source, directory: Path, kinds: Kinds, *, every: bool) -> Iterator[pa.Table]:
    """Yield the rows of CSV or JSON files, of columns that are known or of every one."""
    known: set[str] | None = None
    for path in files_of(source, directory):
        try:
            with connect() as connection:
                if source.format == "json":
                    yield from json_batches(connection, path, kinds, every=every)
                    continue
                for batch in csv_batches(connection, path, kinds, every=every):
                    known = agreed(path, set(batch.column_names), known)
                    yield batch
        except SchemaError as error:
            raise SchemaError(f"{path!r}: {error}") from error


def _other_columns_typed(rows: pa.Table, kinds: Kinds) -> pa.Table:
    names = rows.column_names
    return pa.table({name: rows[name] if name in kinds else column_of_any_type(rows[name]) for name in names})


def joined(pieces: Iterable[pa.Table]) -> pa.Table:
    """Return tables as one, columns in the types that hold those of all.

    Raises:
        SchemaError: there is no such type.
    """
    try:
        return pa.concat_tables(list(pieces), promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(f"a column mixes types: {error}") from error


def between(rows: pa.Table, times: Times) -> pa.Table:
    """Return the rows that are asked for, and those without a time; all, where some time is none that can be.

    Whoever checks rows refuses these, and says whose they are.
    """
    column, start, end = times
    if (start is None and end is None) or column not in rows.column_names:
        return rows
    try:
        moments = to_utc_micros(rows[column], column, "up")
    except DataError:
        return rows
    return rows.filter(within(moments, start, end))


def columns_of(source: Source, directory: Path) -> list[str] | None:
    """Return the names of the columns of a source's files or query, of JSON those of the first rows.

    None if they can't be read, or the source is SQL over others.
    """
    if source.sql is not None:
        return None
    try:
        if source.url is not None:
            from fs_core.sources.warehouse.read import parts

            return list(next(parts(source, rows=False)).column_names)
        files = files_of(source, directory)
        if source.format != "parquet":
            batch = next(text_files(files, str(source.format), ()).batches())
            return list(batch.columns)
        with connect() as connection:
            return list(connection.sql(f"FROM {parquet(files)}").columns)
    except (SourceError, SchemaError, duckdb.Error):
        return None


def wanted_columns(view: FeatureView) -> list[str]:
    """Return the columns that a view's source yields: keys, times, features."""
    times = [view.event_timestamp, *([view.available_at] if view.available_at else [])]
    return list(dict.fromkeys([*view.request_keys, *times, *view.written]))


def check_columns(view: FeatureView, present: list[str], *, exactly: bool = True) -> None:
    """Refuse columns of a source that lack a view's; with `exactly`, those that are others, too.

    Args:
        view: what the columns should be.
        present: the source's columns.
        exactly: whether further columns are refused.
    """
    wanted = wanted_columns(view)
    missing = [name for name in wanted if name not in present]
    extra = [name for name in present if name not in wanted] if exactly else []
    if missing or extra:
        parts = [
            f"lacks {', '.join(map(repr, missing))}" if missing else "",
            f"yields {', '.join(map(repr, extra))} beyond the view's columns" if extra else "",
        ]
        raise SourceError(
            f"view {view.name!r}: its source {' and '.join(p for p in parts if p)}. "
            f"The columns must be {', '.join(wanted)}."
        )
