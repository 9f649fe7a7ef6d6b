"""SQL expressions of one row, run in a database that reaches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.offline.duckdb import SETTINGS, quoted
from fs_core.offline.predicates import check_syntax, visible
from fs_core.runtime.per_process import PerProcess

_ROWS = "__rows"


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
    with _database.get().cursor() as connection:
        for name, text in expressions:
            check_syntax(connection, text, f"{what}: expression {name!r}", columns, "row")
    listed = ", ".join(f"(\n{text}\n) AS __{number}" for number, (_, text) in enumerate(expressions))
    return f"SELECT {listed} FROM {quoted(_ROWS)}"


def run(query: str, rows: pa.Table) -> pa.Table:
    """Return what a checked query gives for rows, in their order.

    Raises:
        duckdb.Error: a column or function doesn't exist, or it fails for a value.
    """
    with _database.get().cursor() as connection:
        connection.register(_ROWS, _known(rows))
        return connection.sql(query).to_arrow_table()


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


def _known(rows: pa.Table) -> pa.Table:
    """Return rows in types that DuckDB has: it has no half floats."""
    for number, field in enumerate(rows.schema):
        if pa.types.is_float16(field.type):
            rows = rows.set_column(number, field.name, rows.column(number).cast(pa.float32()))
    return rows


def _open() -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(config=SETTINGS)
    database.execute("SET GLOBAL TimeZone='UTC'")
    database.execute("SET enable_external_access=false")
    database.execute("SET lock_configuration=true")
    return database


_database = PerProcess(_open)
