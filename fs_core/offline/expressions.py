"""SQL expressions of one row: checked to be no more than that, and run in a database that reaches nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.errors import DefinitionError
from fs_core.offline.duckdb import SETTINGS
from fs_core.rule import EVENT_TIME
from fs_core.runtime.per_process import PerProcess

_ROWS = "__rows"
_MOMENTS = {"current_timestamp", "current_date", "current_time", "localtimestamp", "localtime"}  # without parentheses


@lru_cache(maxsize=1024)
def checked(what: str, columns: tuple[str, ...], expressions: tuple[tuple[str, str], ...]) -> str:
    """Return the query of expressions, once they are checked. Results carry numbers, so that none reads another.

    Args:
        what: how errors call what they belong to.
        columns: the names that they may read.
        expressions: each one's name and text.

    Raises:
        DefinitionError: one of them doesn't parse, or isn't of single values.
    """
    for name, text in expressions:
        check_syntax(text, f"{what}: expression {name!r}", columns, "row")
    return query_of(f"(\n{text}\n)" for _, text in expressions)


def query_of(expressions: Iterable[str]) -> str:
    """Return the query of checked expressions, for `run`: its columns are numbered."""
    listed = ", ".join(f"{text} AS __{number}" for number, text in enumerate(expressions))
    return f"SELECT {listed} FROM {_ROWS}"


def run(query: str, rows: pa.Table) -> pa.Table:
    """Return what a checked query gives for rows, in their order.

    Raises:
        duckdb.Error: a column or function doesn't exist, or it fails for a value.
    """
    with _database.get().cursor() as connection:
        connection.register(_ROWS, _known(rows))
        return connection.sql(query).to_arrow_table()


def type_of(expression: str, rows: pa.Table) -> str:
    """Return the type that a checked expression gives, as DuckDB calls it.

    Args:
        expression: the expression.
        rows: columns of the types that it is given.

    Raises:
        duckdb.Error: a column or function doesn't exist.
    """
    with _database.get().cursor() as connection:
        connection.register(_ROWS, _known(rows))
        return str(connection.sql(query_of([f"(\n{expression}\n)"])).types[0])


def reason_of(error: duckdb.Error) -> str:
    """Return what DuckDB says, in one line, without the place in the query."""
    return str(error).partition("\n\n")[0].replace("\n", " ")


def broken(view: FeatureView, columns: Mapping[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """Return for each check of a view which rows break it: boolean, no nulls.

    A row does where the check is false, or can't be evaluated, as where text that is no number is cast to one.

    Args:
        view: whose checks.
        columns: keys, event time and fields, in their types.
    """
    rows = visible(view, pa.table(dict(columns)))
    try:
        found = _unbroken(view, rows, "({}) IS NOT FALSE")
    except duckdb.Error:  # for some value: slower, for each on its own
        found = _unbroken(view, rows, "coalesce(try(({}) IS NOT FALSE), false)")
    return {check: pc.invert(found.column(number)) for number, check in enumerate(view.checks)}


def _unbroken(view: FeatureView, rows: pa.Table, form: str) -> pa.Table:
    named = tuple((check, form.format(f"\n{check}\n")) for check in view.checks)
    return run(checked(f"view {view.name!r}", tuple(rows.column_names), named), rows)


def visible(view: FeatureView, events: pa.Table | None) -> pa.Table:
    """Return the columns that a condition may read, under the names that data has; without events, none."""
    types = {**view.keys, EVENT_TIME: pa.timestamp("us", tz="UTC"), **view.stored}
    found = {}
    for name, dtype in types.items():
        if events is not None and name not in events.column_names:
            continue
        known = _known_type(dtype)
        named = view.event_timestamp if name == EVENT_TIME else name
        found[named] = pa.array([], known) if events is None else events[name].cast(known)
    return pa.table(found)


def _known(rows: pa.Table) -> pa.Table:
    """Return rows in types that DuckDB has."""
    for number, field in enumerate(rows.schema):
        if field.type != _known_type(field.type):
            rows = rows.set_column(number, field.name, rows.column(number).cast(_known_type(field.type)))
    return rows


def _known_type(dtype: pa.DataType) -> pa.DataType:
    return pa.float32() if pa.types.is_float16(dtype) else dtype  # DuckDB has no half floats


def check_syntax(text: str, what: str, columns: Collection[str], one: str) -> None:
    """Refuse SQL that is no expression of single values, or whose result isn't of these alone.

    Args:
        text: the expression.
        what: how errors call it.
        columns: the names that it may read.
        one: what it sees one of.

    Raises:
        DefinitionError: it doesn't parse, looks beyond, or may change its mind.
    """
    known = {name.lower() for name in columns}
    for part in _parts(_parsed(text, what)):
        if part["class"] in ("SUBQUERY", "WINDOW", "PARAMETER", "STAR"):
            raise DefinitionError(f"{what} looks beyond one {one}: it has a {part['class'].lower()}.")
        if part["class"] == "FUNCTION":
            arguments = part.get("arguments", part.get("children", ()))  # the older releases' word is the second
            _check_function(str(part["function_name"]), len(arguments), what, one)
        if part["class"] == "COLUMN_REF" and part["column_names"][-1].lower() in _MOMENTS - known:
            raise DefinitionError(f"{what} isn't the same always: {part['column_names'][-1]} is another each time.")


def _check_function(name: str, arguments: int, what: str, one: str) -> None:
    """Refuse functions that aren't of one row, or whose result isn't of their arguments alone; look into macros."""
    known = _asked(
        "SELECT function_type, stability, macro_definition FROM duckdb_functions() WHERE function_name = ?",
        name.lower(),
    )
    if not known:
        return  # binding says it better
    scalars = [stability for kind, stability, _ in known if kind == "scalar"]
    macros = [definition for kind, _, definition in known if kind == "macro"]
    if not scalars and not macros:
        raise DefinitionError(f"{what} looks beyond one {one}: {name} is no function of single values.")
    if (scalars and "CONSISTENT" not in scalars) or (name.lower() == "age" and arguments == 1):
        raise DefinitionError(f"{what} isn't the same always: {name} doesn't depend on the {one} alone.")
    for definition in macros:
        check_syntax(definition, what, [], one)


def names_in(text: str, what: str) -> Iterator[str]:
    """Yield the parts of the names of columns that an expression reads; `what` is how errors call it."""
    for part in _parts(_parsed(text, what)):
        if part["class"] == "COLUMN_REF":
            yield from part["column_names"]


def _parsed(text: str, what: str) -> Any:
    """Return the syntax of one expression; anything more or less is refused."""
    parsed = json.loads(_asked("SELECT json_serialize_sql(?)", query_of([f"(\n{text}\n)"]))[0][0])
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


def _asked(query: str, value: str) -> list[Any]:
    with _database.get().cursor() as connection:
        found: list[Any] = connection.execute(query, [value]).fetchall()
    return found


def _open() -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(config=SETTINGS)
    database.execute("SET GLOBAL TimeZone='UTC'")
    database.execute("SET enable_external_access=false")
    database.execute("SET lock_configuration=true")
    return database


_database = PerProcess(_open)
