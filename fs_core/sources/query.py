"""What the SQL of a view may say: one SELECT over registered sources, which reaches nothing else.

DuckDB would read any file (`read_text`), show its settings, run text as SQL (`query`), or copy rows to a file. Tables,
functions and statements are therefore checked by name here, when a view is applied and again when it runs;
`fs_core.sources.sql` then runs the query in a database that can't reach them either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

from fs_core.errors import SourceError
from fs_core.offline.duckdb import connect

_ROWS_FROM_VALUES = frozenset(
    {"range", "generate_series", "unnest", "json_each", "json_tree", "repeat", "repeat_row", "regexp_split_to_table"}
)
"""The functions that may stand for a table: they make rows of their arguments, and read nothing."""

_OF_THE_DATABASE = frozenset(
    {"current_query", "current_setting", "getenv", "getvariable", "nextval", "currval", "pg_sleep", "sleep_ms"}
)
_INSIDE = ("__", "duckdb_", "pragma_", "read_", "write_", "json_execute", "json_serialize", "json_deserialize")
_READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_STARTS = frozenset({"SELECT", "FROM", "WITH", "VALUES", "TABLE"})
_FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*([A-Za-z]*)", re.DOTALL)
_TOO_DEEP = "SQL is nested too deeply to be read. Make parts of it queries of a WITH."
_ALONE = "The SQL of a view reads registered sources alone."


def referenced_tables(sql: str) -> set[str]:
    """Return the names of the tables that a query reads, those that it makes itself by WITH set aside.

    A table of a schema other than `main`, which no source can be, is named with its schema.

    Raises:
        SourceError: the query doesn't parse (carries DuckDB's words), or is more than one SELECT.
    """
    tables: set[str] = set()
    try:
        _collect_tables(_parsed(sql), frozenset(), tables)
    except RecursionError as error:
        raise SourceError(_TOO_DEEP) from error
    return tables


def names_in(sql: str) -> set[str]:
    """Return the names by which a query may mean columns.

    Raises:
        SourceError: as in `referenced_tables`.
    """
    lists = [node.get(name) or [] for node in _nodes(_parsed(sql)) for name in ("column_names", "using_columns")]
    return {name for names in lists for name in names if isinstance(name, str)}


def takes_all_columns(sql: str) -> bool:
    """Return whether a query yields whatever columns its sources have, as `SELECT *` does."""
    return any(node.get("class") == "STAR" for node in _nodes(_parsed(sql)))


def refuse_reach(sql: str) -> None:
    """Refuse a query that reaches for files, settings, or anything else than its sources' rows.

    Raises:
        SourceError: as in `referenced_tables`, or the query calls such a function, or changes something; names it.
    """
    for node in _nodes(_parsed(sql)):
        kind = str(node.get("type", ""))
        if kind == "SHOW_REF":
            raise SourceError(f"SQL describes tables (SHOW, DESCRIBE or SUMMARIZE). {_ALONE}")
        if kind.endswith("_NODE") and kind not in _READING:
            raise SourceError(f"SQL holds {kind.removesuffix('_NODE').removesuffix('_QUERY')}. {_ALONE}")
        if kind == "TABLE_FUNCTION":
            name = _name(node["function"])
            if name not in _ROWS_FROM_VALUES:
                raise SourceError(f"SQL reads from {name}(). {_ALONE} Declare a Source for a file, and select from it.")
        elif "function_name" in node and _is_of_the_database(_name(node)):
            raise SourceError(f"SQL calls {_name(node)}(), which asks the database or the machine. {_ALONE}")


def named(table: str, sources: Collection[str]) -> str | None:
    """Return the name of the source that SQL means by a table's; SQL ignores case."""
    if table in sources:
        return table
    return next((name for name in sources if name.lower() == table.lower()), None)


def _name(function: dict[str, Any]) -> str:
    return str(function.get("function_name", "")).lower()


def _is_of_the_database(function: str) -> bool:
    return function in _OF_THE_DATABASE or function.startswith(_INSIDE)


def _parsed(sql: str) -> dict[str, Any]:
    """Return DuckDB's syntax tree of a query."""
    with connect() as connection:
        try:
            # DuckDB's get_table_names would also bind the query, which needs the tables' columns.
            sql.encode()
            found = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0]
            tree: dict[str, Any] = json.loads(found)
        except RecursionError as error:
            raise SourceError(_TOO_DEEP) from error
        except (duckdb.Error, UnicodeError) as error:
            raise SourceError(f"SQL can't be read: {error}. It must be one SELECT.") from error
    if tree["error"]:
        raise SourceError(f"{_no_query(sql, tree['error_message'])} It must be one SELECT.")
    if len(tree["statements"]) != 1:
        raise SourceError(f"SQL has {len(tree['statements'])} statements. It must be one SELECT.")
    return tree


def _no_query(sql: str, message: str) -> str:
    """Return what text is that DuckDB doesn't take for a query."""
    try:
        statements = [sql, *(statement.query for statement in duckdb.extract_statements(sql))]
    except duckdb.Error:
        return f"SQL doesn't parse: {message}."
    words = [_first_word(statement) for statement in statements]
    return f"SQL holds {next((word for word in words if word and word not in _STARTS), 'other statements')}."


def _first_word(statement: str) -> str:
    found = _FIRST_WORD.match(statement)
    return found[1].upper() if found else ""


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every node of a syntax tree, in no order."""
    rest = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            yield node
            rest.extend(node.values())
        elif isinstance(node, list):
            rest.extend(node)


def _collect_tables(node: Any, own: frozenset[str], tables: set[str]) -> None:
    """Collect table names below a node of DuckDB's syntax tree; `own` are the names that WITH gave there."""
    if isinstance(node, list):
        for child in node:
            _collect_tables(child, own, tables)
    elif isinstance(node, dict):
        if node.get("type") == "BASE_TABLE" and (node["schema_name"] or node["table_name"].lower() not in own):
            schema = node["schema_name"] if node["schema_name"].lower() != "main" else ""
            tables.add(f"{schema}.{node['table_name']}" if schema else node["table_name"])
        if node.get("type") == "RECURSIVE_CTE_NODE":
            own |= {node["cte_name"].lower()}
        for entry in (node.get("cte_map") or {}).get("map", []):
            # Inside its own query the name still means the table: WITH t AS (SELECT ... FROM t).
            _collect_tables(entry["value"], own, tables)
            own |= {entry["key"].lower()}
        for name, child in node.items():
            if name != "cte_map":
                _collect_tables(child, own, tables)
