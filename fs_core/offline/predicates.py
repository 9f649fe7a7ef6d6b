"""`where` of aggregations: SQL over an event's columns, checked when it is declared, evaluated once for each event.

A view's checks of rows are checked here, too, when it is declared. `fs_core.offline.expressions` evaluates both.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.errors import DefinitionError, ValidationError
from fs_core.offline.expressions import check_syntax, names_in, query_of, reason_of, run, type_of, visible
from fs_core.values.samples import is_of_any_form, samples

_FEW_ROWS = 32


def predicates(view: FeatureView) -> tuple[str, ...]:
    """Return the different `where` of a view's aggregations, in order of first mention."""
    return tuple(dict.fromkeys(a.where for a in view.aggregations if a.where is not None))


def check_predicates(view: FeatureView) -> None:
    """Refuse what is no condition on one row, the same whenever and wherever it is evaluated.

    Raises:
        DefinitionError: it doesn't parse, reads what isn't the row's, isn't boolean, fails whatever the row holds, or
            may change its mind.
    """
    always = [*view.request_keys, view.event_timestamp]
    for where in predicates(view):
        _check(view, where, f"view {view.name!r}: where {where!r}", [*always, *view.stored], "event")
    for check in view.checks:
        _check(view, check, f"view {view.name!r}: check {check!r}", [*always, *view.written], "row")


def _check(view: FeatureView, condition: str, what: str, columns: Sequence[str], one: str) -> None:
    check_syntax(condition, what, columns, one)
    try:
        kind = type_of(condition, visible(view, None).select(columns))
    except duckdb.Error as error:
        raise DefinitionError(f"{what} can't be evaluated: {reason_of(error)}") from error
    if kind != "BOOLEAN":
        raise DefinitionError(f"{what} gives {kind}, not true or false. Compare it with something.")
    _try(condition, visible(view, None).select(columns).schema, what, one)


def _try(condition: str, schema: pa.Schema, what: str, one: str) -> None:
    """Refuse what fails for every value, as `amount > 'abc'` does: DuckDB binds it, and no row would ever pass.

    What reads text, bytes or a list isn't tried: only the user knows the form of these.
    """
    read = {name.lower() for name in names_in(condition, what)}
    if any(is_of_any_form(field.type) for field in schema if field.name.lower() in read):
        return
    try:
        run(query_of([f"(\n{condition}\n)"]), pa.table([pa.nulls(1, dtype) for dtype in schema.types], schema=schema))
    except duckdb.Error as error:
        rows = samples(dict(zip(schema.names, schema.types, strict=True))).rows
        found = run(query_of([f"try((\n{condition}\n) IS NULL) IS NOT NULL"]), rows)
        if not pc.any(found.column(0)).as_py():
            raise DefinitionError(
                f"{what} fails whatever the {one} holds: {reason_of(error)}. Compare values of one type."
            ) from error


def columns_read(view: FeatureView) -> list[str]:
    """Return which of the columns that a view stores its conditions read."""
    return list(_columns_read(predicates(view), tuple(view.stored)))


@lru_cache(maxsize=256)
def _columns_read(wheres: tuple[str, ...], stored: tuple[str, ...]) -> tuple[str, ...]:
    read = {name.lower() for where in wheres for name in names_in(where, f"where {where!r}")}
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
    try:
        return run(query_of(f"coalesce((\n{where}\n), false)" for where in wheres), rows)
    except duckdb.Error as error:
        raise ValidationError(f"view {name!r}: where fails for a value: {reason_of(error)}") from error


def _bytes_of(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows.combine_chunks())
    return bytes(sink.getvalue())
