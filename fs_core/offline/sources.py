"""Running the source of a view: files become tables, SQL becomes rows."""

from __future__ import annotations

import glob
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import SQL, FeatureView, Source
from fs_core.errors import SourceError, did_you_mean
from fs_core.offline.connection import connect, literal, moment, quoted

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
    with connect() as connection:
        try:
            rows = _relation(connection, view, sources, directory)
            _check_columns(view, rows.columns)
            column = f"{quoted(view.event_timestamp)}::TIMESTAMPTZ"
            for bound, sign in ((start, ">="), (end, "<")):
                rows = rows if bound is None else rows.filter(f"{column} {sign} {moment(bound)}")
            found = rows.project(", ".join(map(quoted, _wanted(view)))).to_arrow_table()
            plain = isinstance(view.source, Source) and sources.get(view.source.name, view.source)
            return _as_declared(found, [view]) if plain and plain.format == "csv" else found
        except duckdb.Error as error:
            raise SourceError(f"view {view.name!r}: its source failed: {error}") from error


def read_file(views: Iterable[FeatureView], path: Path) -> pa.Table:
    """Return the rows of a Parquet, CSV or JSON file, every column of it.

    Keys and features of the views that are text stay text in a CSV, and decimals keep their digits.

    Raises:
        DefinitionError: the file's ending doesn't tell its format.
        SourceError: the file is missing, empty, or not what its ending says.
    """
    source = Source("file", path=path)
    if path.is_file() and not path.stat().st_size:
        raise SourceError(f"{str(path)!r} is empty: not even columns are named. A file without rows still names them.")
    with connect() as connection:
        try:
            rows = _typed(connection, views, source, path.parent).to_arrow_table()
            return _as_declared(rows, views) if source.format == "csv" else rows
        except duckdb.Error as error:
            raise SourceError(f"can't read {str(path)!r} as {source.format}: {error}") from error


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
        return _file_relation(connection, view, sources.get(view.source.name, view.source), directory)
    if not isinstance(view.source, SQL):
        raise SourceError(f"view {view.name!r} has no source to run. Write or push its rows, or declare a source.")
    for source in _sources_read(view, view.source, sources):
        connection.execute(f"CREATE TEMP VIEW {quoted(source.name)} AS SELECT * FROM {_reader(source, directory)}")
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


def _file_relation(
    connection: duckdb.DuckDBPyConnection, view: FeatureView, source: Source, directory: Path
) -> duckdb.DuckDBPyRelation:
    """Return a plain source's wanted columns; it may have others."""
    rows = _typed(connection, [view], source, directory)
    _check_columns(view, rows.columns, exactly=False)
    return rows.project(", ".join(map(quoted, _wanted(view))))


def _typed(
    connection: duckdb.DuckDBPyConnection, views: Iterable[FeatureView], source: Source, directory: Path
) -> duckdb.DuckDBPyRelation:
    """Return a file's rows; texts and decimals of a CSV as text.

    DuckDB guesses the types of CSV: a key such as 007 would lose its zeros for ever, and a decimal become a float.
    """
    rows = connection.sql(f"FROM {_reader(source, directory)}")
    kept = (pa.types.is_string, pa.types.is_decimal)
    texts = [n for n, t in _declared(views).items() if any(kind(t) for kind in kept) and n in rows.columns]
    if source.format != "csv" or not texts:
        return rows
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in texts)
    return connection.sql(f"FROM {_reader(source, directory, f', types = {{{types}}}')}")


def _declared(views: Iterable[FeatureView]) -> dict[str, pa.DataType]:
    return {name: dtype for view in views for name, dtype in {**view.keys, **view.features}.items()}


def _as_declared(rows: pa.Table, views: Iterable[FeatureView]) -> pa.Table:
    """Return a CSV's rows with decimals made of their texts, and columns without a value as nulls, which fit any type.

    A text that is no decimal stays as it is, for whoever checks the rows to refuse.
    """
    declared = _declared(views)
    for place, name in enumerate(rows.column_names):
        column, dtype = rows[name], declared.get(name, pa.null())
        if pa.types.is_string(column.type) and column.null_count == len(column):
            column = pa.chunked_array([pa.nulls(len(column))])
        elif pa.types.is_string(column.type) and pa.types.is_decimal(dtype):
            column = _decimals(column, dtype)
        rows = rows.set_column(place, name, column)
    return rows


def _decimals(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    """Return the decimals that texts are: as declared, or else with all their digits, or else the texts."""
    for kind in (dtype, pa.decimal256(76, 38)):
        try:
            return pc.utf8_trim_whitespace(column).cast(kind)
        except pa.ArrowInvalid:
            continue
    return column


def _reader(source: Source, directory: Path, options: str = "") -> str:
    return f"{_READERS[str(source.format)]}({literal(_located(source, directory))}{options})"


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
    return list(dict.fromkeys([*view.keys, *times, *view.features]))


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
