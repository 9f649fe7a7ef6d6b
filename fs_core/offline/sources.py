"""Running a view's source: DuckDB SQL over files, checked against the view's columns."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from fs_core.definitions import SQL, FeatureView, Source
from fs_core.errors import SourceError, did_you_mean
from fs_core.times import MICROSECONDS

_READERS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}


def connect() -> duckdb.DuckDBPyConnection:
    """Return a fresh in-memory connection that means UTC wherever a zone is left out."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    return connection


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def referenced_tables(sql: str) -> set[str]:
    """Return the names of the tables that a query reads.

    Raises:
        SourceError: the query doesn't parse; carries DuckDB's words.
    """
    with connect() as connection:
        # DuckDB's get_table_names would also bind the query, which needs the tables' columns.
        found = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0]
    tree = json.loads(found)
    if tree["error"]:
        raise SourceError(f"SQL doesn't parse: {tree['error_message']}. It must be one SELECT.")
    tables: set[str] = set()
    common: set[str] = set()
    _walk(tree, tables, common)
    return tables - common


def _walk(node: Any, tables: set[str], common: set[str]) -> None:
    """Collect the table names below a node of DuckDB's syntax tree, and the names that WITH gives."""
    if isinstance(node, list):
        for child in node:
            _walk(child, tables, common)
    elif isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            tables.add(node["table_name"])
        common.update(entry["key"] for entry in (node.get("cte_map") or {}).get("map", []))
        for child in node.values():
            _walk(child, tables, common)


def run_source(
    view: FeatureView,
    sources: Mapping[str, Source],
    directory: Path,
    *,
    start: int | None = None,
    end: int | None = None,
) -> pa.Table:
    """Return what a view's source yields: exactly the view's columns.

    Args:
        view: whose source to run.
        sources: the registered sources, by name.
        directory: where relative paths are looked up after the working directory.
        start: microseconds; leave out earlier event times.
        end: microseconds; leave out this event time and later ones.

    Raises:
        SourceError: a file is missing, the SQL fails, or its columns aren't the view's.
    """
    with connect() as connection:
        try:
            query = _query(connection, view, sources, directory)
            relation = connection.sql(query)
            _check_columns(view, relation.columns)
            names = ", ".join(quoted(name) for name in _wanted(view))
            filtered, moments = _within(view, f"SELECT {names} FROM ({query})", start, end)
            return connection.execute(filtered, moments).to_arrow_table()
        except duckdb.Error as error:
            raise SourceError(f"view {view.name!r}: its source failed: {error}") from error


def _query(
    connection: duckdb.DuckDBPyConnection, view: FeatureView, sources: Mapping[str, Source], directory: Path
) -> str:
    """Make the sources that are read known to DuckDB by name; return the query."""
    if isinstance(view.source, Source):
        found = sources.get(view.source.name, view.source)
        return f"SELECT {', '.join(map(quoted, _wanted(view)))} FROM {_reader(found, directory)}"
    assert isinstance(view.source, SQL)
    query = view.source.query.rstrip().rstrip(";")
    for name in referenced_tables(query):
        if name not in sources:
            raise SourceError(f"view {view.name!r} reads {name!r}, no registered source.{did_you_mean(name, sources)}")
        connection.execute(f"CREATE VIEW {quoted(name)} AS SELECT * FROM {_reader(sources[name], directory)}")
    return query


def _reader(source: Source, directory: Path) -> str:
    return f"{_READERS[str(source.format)]}({literal(_located(source, directory))})"


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


def _check_columns(view: FeatureView, present: list[str]) -> None:
    wanted = _wanted(view)
    missing = [name for name in wanted if name not in present]
    extra = [name for name in present if name not in wanted]
    if missing or extra:
        parts = [
            f"lacks {', '.join(map(repr, missing))}" if missing else "",
            f"yields {', '.join(map(repr, extra))} beyond the view's columns" if extra else "",
        ]
        raise SourceError(
            f"view {view.name!r}: its source {' and '.join(p for p in parts if p)}. "
            f"The columns must be {', '.join(wanted)}."
        )


def _within(view: FeatureView, query: str, start: int | None, end: int | None) -> tuple[str, list[object]]:
    bounds = [(">=", start), ("<", end)]
    tests = [f"{quoted(view.event_timestamp)}::TIMESTAMPTZ {sign} ?" for sign, b in bounds if b is not None]
    moments = [pa.scalar(b, MICROSECONDS).as_py() for _, b in bounds if b is not None]
    return (f"SELECT * FROM ({query}) WHERE {' AND '.join(tests)}" if tests else query), moments
