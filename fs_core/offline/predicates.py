"""`where` of aggregations: SQL over an event's columns, checked when it is declared, evaluated once for each event.

Checks of rows are checked here, too; `fs_core.offline.expressions` evaluates them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import DefinitionError, ValidationError
from fs_core.offline.duckdb import connect
from fs_core.rule import EVENT_TIME

_EVENTS = "__events"
_FEW_ROWS = 32
_MOMENTS = {"current_timestamp", "current_date", "current_time", "localtimestamp", "localtime"}  # without parentheses


def predicates(view: FeatureView) -> tuple[str, ...]:
    """Return the different `where` of a view's aggregations, in order of first mention."""
    return tuple(dict.fromkeys(a.where for a in view.aggregations if a.where is not None))


def check_predicates(view: FeatureView) -> None:
    """Refuse what is no condition on one row, the same whenever and wherever it is evaluated.

    Raises:
        DefinitionError: it doesn't parse, reads what isn't the row's, isn't boolean, or may change its mind.
    """
    always = [*view.request_keys, view.event_timestamp]
    for where in predicates(view):
        _check(view, where, f"view {view.name!r}: where {where!r}", [*always, *view.stored], "event")
    for check in view.checks:
        _check(view, check, f"view {view.name!r}: check {check!r}", [*always, *view.written], "row")


def _check(view: FeatureView, condition: str, what: str, columns: Sequence[str], one: str) -> None:
    with connect() as connection:
        check_syntax(connection, condition, what, columns, one)
        connection.register(_EVENTS, visible(view, None).select(columns))
        try:
            kind = connection.sql(f"SELECT (\n{condition}\n) FROM {_EVENTS}").types[0]
        except duckdb.Error as error:
            reason = str(error).partition("\n\n")[0].replace("\n", " ")
            raise DefinitionError(f"{what} can't be evaluated: {reason}") from error
    if str(kind) != "BOOLEAN":
        raise DefinitionError(f"{what} gives {kind}, not true or false. Compare it with something.")


def columns_read(view: FeatureView) -> list[str]:
    """Return which of the columns that a view stores its conditions read."""
    return list(_columns_read(predicates(view), tuple(view.stored)))


@lru_cache(maxsize=256)
def _columns_read(wheres: tuple[str, ...], stored: tuple[str, ...]) -> tuple[str, ...]:
    read: set[str] = set()
    with connect() as connection:
        for where in wheres:
            parts = _parts(_parsed(connection, where, f"where {where!r}"))
            read |= {name.lower() for part in parts if part["class"] == "COLUMN_REF" for name in part["column_names"]}
    return tuple(name for name in stored if name.lower() in read)


def passing(view: FeatureView, events: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return for each `where` of a view which events it is true for: boolean, no nulls, in the events' order.

    Args:
        view: whose aggregations.
        events: rows in `history_schema(view)`, in the declared types; only keys, event time and `columns_read` are
            needed.

    Raises:
        ValidationError: it fails for a value, as a cast of text to a number does.
    """
    wanted = predicates(view)
    if not wanted:
        return {}
    rows = visible(view, events)
    few = rows.num_rows <= _FEW_ROWS
    found = _evaluated_once(view.name, wanted, _bytes_of(rows)) if few else _evaluated(view.name, wanted, rows)
    return {where: found.column(number) for number, where in enumerate(wanted)}


@lru_cache(maxsize=64)
def _evaluated_once(name: str, wheres: tuple[str, ...], rows: bytes) -> pa.Table:
    """Do what `_evaluated` does, once for rows whose bits are the same: a push checks its rows, then sends them."""
    return _evaluated(name, wheres, pa.ipc.open_stream(rows).read_all())


def _evaluated(name: str, wheres: tuple[str, ...], rows: pa.Table) -> pa.Table:
    with connect() as connection:
        connection.register(_EVENTS, rows)
        try:
            return connection.sql(_query(wheres)).to_arrow_table()
        except duckdb.Error as error:
            reason = str(error).partition("\n\n")[0].replace("\n", " ")
            raise ValidationError(f"view {name!r}: where fails for a value: {reason}") from error


def _bytes_of(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows.combine_chunks())
    return bytes(sink.getvalue())


def _query(wheres: list[str] | tuple[str, ...]) -> str:
    listed = ", ".join(f"coalesce((\n{where}\n), false) AS w{number}" for number, where in enumerate(wheres))
    return f"SELECT {listed} FROM {_EVENTS}"


def visible(view: FeatureView, events: pa.Table | None) -> pa.Table:
    """Return the columns that a condition may read, under the names that data has; without events, none."""
    types = {**view.keys, EVENT_TIME: pa.timestamp("us", tz="UTC"), **view.stored}
    found = {}
    for name, dtype in types.items():
        if events is not None and name not in events.column_names:
            continue
        known = pa.float32() if pa.types.is_float16(dtype) else dtype  # DuckDB has no half floats
        named = view.event_timestamp if name == EVENT_TIME else name
        found[named] = pa.array([], known) if events is None else events[name].cast(known)
    return pa.table(found)


def check_syntax(
    connection: duckdb.DuckDBPyConnection, text: str, what: str, columns: Collection[str], one: str = "event"
) -> None:
    """Refuse SQL that is no expression of single values, or whose result isn't of these alone.

    Args:
        connection: whose functions it may call.
        text: the expression.
        what: how errors call it.
        columns: the names that it may read.
        one: what it sees one of.

    Raises:
        DefinitionError: it doesn't parse, looks beyond, or may change its mind.
    """
    known = {name.lower() for name in columns}
    for part in _parts(_parsed(connection, text, what)):
        if part["class"] in ("SUBQUERY", "WINDOW", "PARAMETER", "STAR"):
            raise DefinitionError(f"{what} looks beyond one {one}: it has a {part['class'].lower()}.")
        if part["class"] == "FUNCTION":
            arguments = part.get("arguments", part.get("children", ()))  # the older releases' word is the second
            _check_function(connection, str(part["function_name"]), len(arguments), what, one)
        if part["class"] == "COLUMN_REF" and part["column_names"][-1].lower() in _MOMENTS - known:
            raise DefinitionError(f"{what} isn't the same always: {part['column_names'][-1]} is another each time.")


def _check_function(connection: duckdb.DuckDBPyConnection, name: str, arguments: int, what: str, one: str) -> None:
    """Refuse functions that aren't of one row, or whose result isn't of their arguments alone; look into macros."""
    known = connection.execute(
        "SELECT function_type, stability, macro_definition FROM duckdb_functions() WHERE function_name = ?",
        [name.lower()],
    ).fetchall()
    if not known:
        return  # binding says it better
    scalars = [stability for kind, stability, _ in known if kind == "scalar"]
    macros = [definition for kind, _, definition in known if kind == "macro"]
    if not scalars and not macros:
        raise DefinitionError(f"{what} looks beyond one {one}: {name} is no function of single values.")
    if (scalars and "CONSISTENT" not in scalars) or (name.lower() == "age" and arguments == 1):
        raise DefinitionError(f"{what} isn't the same always: {name} doesn't depend on the {one} alone.")
    for definition in macros:
        check_syntax(connection, definition, what, [], one)


def _parsed(connection: duckdb.DuckDBPyConnection, where: str, what: str) -> Any:
    """Return the syntax of one expression; anything more or less is refused."""
    text = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT (\n{where}\n) FROM {_EVENTS}"]).fetchall()[0][0]
    parsed = json.loads(text)
    if parsed["error"]:
        raise DefinitionError(f"{what} is no SQL expression: {parsed['error_message']}.")
    listed = parsed["statements"][0]["node"].get("select_list", [])
    if len(parsed["statements"]) != 1 or len(listed) != 1:
        raise DefinitionError(f"{what} is more than one expression.")
    return listed[0]


def _parts(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get("class"), str):
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from _parts(part)
