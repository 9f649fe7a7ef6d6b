"""Running the source of a view: files become tables, SQL becomes rows."""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import SQL, FeatureView, Source
from fs_core.errors import SchemaError, SourceError, did_you_mean
from fs_core.offline.duckdb import connect, literal, moment, one_file, quoted
from fs_core.sources.csv import csv_batches, explained
from fs_core.sources.json import json_batches
from fs_core.sources.parsing import Kinds, column_of_any_type
from fs_core.values.times import to_utc_micros

_READERS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}
_QUERY = "__query"  # a name that no source can have


def referenced_tables(sql: str) -> set[str]:
    """Return the names of the tables that a query reads, those that it makes itself by WITH set aside.

    Raises:
        SourceError: the query doesn't parse (carries DuckDB's words), or is more than one SELECT.
    """
    with connect() as connection:
        # DuckDB's get_table_names would also bind the query, which needs the tables' columns.
        found = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0]
    tree = json.loads(found)
    if tree["error"]:
        raise SourceError(f"SQL doesn't parse: {tree['error_message']}. It must be one SELECT.")
    if len(tree["statements"]) != 1:
        raise SourceError(f"SQL has {len(tree['statements'])} statements. It must be one SELECT.")
    tables: set[str] = set()
    _walk(tree, frozenset(), tables)
    return tables


def named(table: str, sources: Collection[str]) -> str | None:
    """Return the name of the source that SQL means by a table's; SQL doesn't tell upper from lower case."""
    if table in sources:
        return table
    return next((name for name in sources if name.lower() == table.lower()), None)


def _walk(node: Any, own: frozenset[str], tables: set[str]) -> None:
    """Collect table names below a node of DuckDB's syntax tree; `own` are the names that WITH gave there."""
    if isinstance(node, list):
        for child in node:
            _walk(child, own, tables)
    elif isinstance(node, dict):
        if node.get("type") == "BASE_TABLE" and (node["schema_name"] or node["table_name"].lower() not in own):
            tables.add(node["table_name"])
        if node.get("type") == "RECURSIVE_CTE_NODE":
            own |= {node["cte_name"].lower()}
        for entry in (node.get("cte_map") or {}).get("map", []):
            # Inside its own query the name still means the table: WITH t AS (SELECT ... FROM t).
            _walk(entry["value"], own, tables)
            own |= {entry["key"].lower()}
        for name, child in node.items():
            if name != "cte_map":
                _walk(child, own, tables)


def run_source(
    view: FeatureView,
    sources: Mapping[str, Source],
    directory: Path,
    *,
    start: int | None = None,
    end: int | None = None,
) -> pa.Table:
    """Return what a view's source yields: exactly the view's columns, in the types that it yields.

    Args:
        view: whose source to run.
        sources: the registered sources, by name.
        directory: where relative paths are looked up after the working directory.
        start: microseconds; leave out earlier event times.
        end: microseconds; leave out this event time and later ones.

    Raises:
        SourceError: there is no source, a file is missing, the SQL fails, or its columns aren't the view's.
    """
    between = partial(_between, column=view.event_timestamp, start=start, end=end)
    if isinstance(view.source, Source):
        source = sources.get(view.source.name, view.source)
        if source.format != "parquet":
            return _text_rows(view, source, directory, between)
    with connect() as connection:
        try:
            rows = _relation(connection, view, sources, directory)
            _check_columns(view, rows.columns)
            column = f"{quoted(view.event_timestamp)}::TIMESTAMPTZ"  # DuckDB cuts nanoseconds off, which round up here
            for bound, sign in ((None if start is None else start - 1, ">="), (end, "<")):
                rows = rows if bound is None else rows.filter(f"{column} {sign} {moment(bound)}")
            found = rows.project(", ".join(map(quoted, _wanted(view)))).to_arrow_table()
        except duckdb.Error as error:
            raise SourceError(f"view {view.name!r}: its source failed: {_explained(error)}") from error
    return between(found) if pa.types.is_temporal(found[view.event_timestamp].type) else found  # or it will be refused


def _text_rows(view: FeatureView, source: Source, directory: Path, between: Callable[[pa.Table], pa.Table]) -> pa.Table:
    """Return the wanted columns and rows of a source of CSV or JSON files."""
    try:
        rows = _joined([between(batch) for batch in _batches(source, directory, _kinds([view]), every=False)])
    except (SourceError, SchemaError) as error:
        raise type(error)(f"view {view.name!r}: its source failed: {error}") from error
    _check_columns(view, rows.column_names, exactly=False)
    return rows.select(_wanted(view))


def read_file(views: Iterable[FeatureView], path: Path, *, spine: str | None = None) -> pa.Table:
    """Return the rows of a Parquet, CSV or JSON file, every column of it.

    Keys, features and times are read as they are declared, digit for digit; times are ISO 8601, UTC without an offset.

    Args:
        views: whose keys and features the file may hold.
        path: the file, or a glob of several.
        spine: the column of moments, if the file is a spine: they round down. Otherwise the file holds facts, and the
            times that the views name round up.

    Raises:
        DefinitionError: the file's ending doesn't tell its format.
        SourceError: the file is missing, empty, or not what its ending says.
        SchemaError: a value in a CSV or JSON isn't of its column's type; names the row (from 0).
    """
    source = Source("file", path=path)
    if path.is_file() and not path.stat().st_size:
        raise SourceError(f"{str(path)!r} is empty: not even columns are named. A file without rows still names them.")
    if source.format != "parquet":
        kinds = _kinds(views, spine)
        rows = _joined(list(_batches(source, path.parent, kinds, every=True)))
        return _other_columns_typed(rows, kinds) if source.format == "csv" else rows
    with connect() as connection:
        try:
            return connection.sql(f"FROM {_reader(source, path.parent)}").to_arrow_table()
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
    for path in _files(source, directory):
        try:
            with connect() as connection:
                if source.format == "json":
                    yield from json_batches(connection, path, kinds, every=every)
                    continue
                for batch in csv_batches(connection, path, kinds, every=every):
                    known = _agreed(path, set(batch.column_names), known)
                    yield batch
        except SchemaError as error:
            raise SchemaError(f"{path!r}: {error}") from error


def _agreed(path: str, names: set[str], known: set[str] | None) -> set[str]:
    """Return the columns of a CSV file if those before it have the same: a name that is misspelt is no null."""
    if known is not None and known != names:
        lacking, other = sorted(known - names), sorted(names - known)
        says = f"lacks {', '.join(map(repr, lacking))}" if lacking else f"has {', '.join(map(repr, other))}"
        raise SourceError(f"{path!r} {says}, other than the files before it. Give all files the same columns.")
    return names


def _files(source: Source, directory: Path) -> list[str]:
    """Return the files that a source's path means, in order."""
    path = _located(source, directory)
    return [path] if Path(path).exists() else sorted(glob.glob(path, recursive=True))


def _other_columns_typed(rows: pa.Table, kinds: Kinds) -> pa.Table:
    names = rows.column_names
    return pa.table({name: rows[name] if name in kinds else column_of_any_type(rows[name]) for name in names})


def _joined(pieces: list[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables(pieces, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(f"a column mixes types: {error}") from error


def _between(rows: pa.Table, *, column: str, start: int | None, end: int | None) -> pa.Table:
    """Return the rows from a moment on, and before another."""
    if start is None and end is None:
        return rows
    if column not in rows.column_names:  # objects of a JSON file, none of which has a time
        return rows.slice(0, 0)
    times = to_utc_micros(rows[column], column, "up").cast(pa.int64())
    if start is not None:
        rows, times = (found.filter(pc.greater_equal(times, start)) for found in (rows, times))
    return rows if end is None else rows.filter(pc.less(times, end))


def columns_of(source: Source, directory: Path) -> list[str] | None:
    """Return the names of a source's columns; None if its file is missing or can't be read."""
    with connect() as connection:
        try:
            return list(connection.sql(f"FROM {_reader(source, directory)}").columns)
        except (SourceError, duckdb.Error):
            return None


def _relation(
    connection: duckdb.DuckDBPyConnection, view: FeatureView, sources: Mapping[str, Source], directory: Path
) -> duckdb.DuckDBPyRelation:
    """Return the rows, not yet computed, of a view's source."""
    if isinstance(view.source, Source):
        rows = connection.sql(f"FROM {_reader(sources.get(view.source.name, view.source), directory)}")
        _check_columns(view, rows.columns, exactly=False)
        return rows.project(", ".join(map(quoted, _wanted(view))))
    if not isinstance(view.source, SQL):
        raise SourceError(f"view {view.name!r} has no source to run. Write or push its rows, or declare a source.")
    for source in _sources_read(view, view.source, sources):
        reader = _reader(source, directory, _iso_alone(connection, source, directory))
        connection.execute(f"CREATE TEMP VIEW {quoted(source.name)} AS SELECT * FROM {reader}")
    # As a view's body, a query may end in a semicolon and a comment; some releases of sql() take neither.
    connection.execute(f"CREATE TEMP VIEW {_QUERY} AS {view.source.query}")
    return connection.table(_QUERY)


def _sources_read(view: FeatureView, sql: SQL, sources: Mapping[str, Source]) -> Iterable[Source]:
    """Return the sources that a query reads, each once however its name is spelled."""
    read: dict[str, Source] = {}
    for table in sorted(_tables(view, sql)):
        name = named(table, sources)
        if name is None:
            raise SourceError(
                f"view {view.name!r} reads {table!r}, no registered source.{did_you_mean(table, sources)}"
            )
        read[name] = sources[name]
    return read.values()


def _tables(view: FeatureView, sql: SQL) -> set[str]:
    try:
        return referenced_tables(sql.query)
    except SourceError as error:
        raise SourceError(f"view {view.name!r}: {error}") from error


def _iso_alone(connection: duckdb.DuckDBPyConnection, source: Source, directory: Path) -> str:
    """Return options by which DuckDB finds times in a CSV only if they are ISO 8601; SQL can parse others."""
    if source.format != "csv":
        return ""
    options = ", dateformat = '%Y-%m-%d'"
    try:
        sniffed = f"FROM sniff_csv({one_file(_files(source, directory)[0])}{options})"
        guessed = connection.sql(f"SELECT TimestampFormat {sniffed}").fetchall()[0][0]
    except duckdb.Error:  # reading says what is wrong
        guessed = None
    return options + (", timestampformat = '%Y-%m-%dT%H:%M:%S'" if guessed else "")


def _explained(error: duckdb.Error) -> str:
    """Return DuckDB's words; of a CSV without its settings."""
    message = str(error)
    return f"a CSV {explained(message)}" if "CSV" in message.split("\n")[0] or "sniffing" in message else message


def _reader(source: Source, directory: Path, options: str = "") -> str:
    path = _located(source, directory)
    named = one_file(path) if Path(path).exists() else literal(path)
    return f"{_READERS[str(source.format)]}({named}{options})"


def _located(source: Source, directory: Path) -> str:
    tried = [Path(source.path), directory / source.path]
    for path in tried:
        if path.exists() or glob.glob(str(path)):
            return str(path)
    raise SourceError(
        f"source {source.name!r}: no file {str(source.path)!r}, neither in the working directory {str(Path.cwd())!r} "
        f"nor in the store {str(directory)!r}. Mend the path, or put the file there."
    )


def _wanted(view: FeatureView) -> list[str]:
    times = [view.event_timestamp, *([view.available_at] if view.available_at else [])]
    return list(dict.fromkeys([*view.keys, *times, *view.stored]))


def _check_columns(view: FeatureView, present: list[str], *, exactly: bool = True) -> None:
    wanted = _wanted(view)
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
