"""Types of columns as databases have them: what can't be kept to the last digit is refused, by the column's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

from fs_core.errors import SourceError
from fs_core.values.casting import REFUSALS

_Values = TypeVar("_Values", pa.Array, pa.ChunkedArray)
_DIGITS = 38  # of the widest decimal that DuckDB has, and that a feature may be
# Types that PostgreSQL's driver hands over as whole numbers: of cents, of 32 bits with a sign.
_OTHER_NUMBERS = {"money": "numeric(20, 2)", "oid": "bigint", "regproc": "text"}


def check(schema: pa.Schema) -> None:
    """Refuse a query's columns, before any row is read, if one's type has no like here.

    Args:
        schema: as the driver has it, with its notes on the database's own types.

    Raises:
        SourceError: names the column, its type and a cast.
    """
    for field in schema:
        if cast := _cast_needed(field):
            raise SourceError(
                f"column {field.name!r} is {_called(field)!r}, which can't come as it is. Say in the query "
                f"what it is, such as {cast} AS {field.name}, or leave it out."
            )


def _cast_needed(field: pa.Field) -> str | None:
    called, inner = _called(field), field.type
    if pa.types.is_list(inner):
        inner = inner.value_type
        if isinstance(inner, pa.BaseExtensionType) or pa.types.is_interval(inner):
            return f"{field.name}::{'float8' if called == 'numeric[]' else 'text'}[]"
    if pa.types.is_duration(inner):
        return f"TIME_TO_SEC({field.name})"
    if pa.types.is_interval(inner):
        return f"EXTRACT(EPOCH FROM {field.name})::float8"
    cast = _OTHER_NUMBERS.get(called.removesuffix("[]"))
    return None if cast is None else f"{field.name}::{cast}{'[]' if called.endswith('[]') else ''}"


def converted(name: str, dtype: pa.DataType, convert: Callable[[], _Values]) -> _Values:
    """Return what `convert` makes of a column's values.

    Args:
        name: of the column.
        dtype: that they become.
        convert: makes Arrow's values.

    Raises:
        SourceError: a value is none of the type, such as `NaN` of a decimal; names the column.
    """
    try:
        return convert()
    except (*REFUSALS, ValueError, OverflowError) as error:
        raise SourceError(
            f"column {name!r} holds a value that is no {dtype}: {error}. Leave such rows out in the query, or cast "
            "the column to another type there."
        ) from None


def _called(field: pa.Field) -> str:
    """Return what PostgreSQL calls a column's type, or else Arrow."""
    named = str((field.metadata or {}).get(b"POSTGRESQL:type", b"").decode())
    return f"{named[1:]}[]" if named.startswith("_") else named or str(field.type)


def narrowed(table: pa.Table) -> pa.Table:
    """Return a table whose decimals have 38 digits at most: DuckDB reads wider ones as floats.

    Raises:
        SourceError: a value has more digits; names the column and the cast.
    """
    for number, field in enumerate(table.schema):
        if pa.types.is_decimal256(field.type):
            dtype = pa.decimal128(_DIGITS, min(field.type.scale, _DIGITS))
            try:
                table = table.set_column(number, field.name, table.column(number).cast(dtype))
            except REFUSALS:
                raise SourceError(
                    f"column {field.name!r} is a decimal({field.type.precision}, {field.type.scale}) and holds a value "
                    f"that {dtype.precision} digits, {dtype.scale} of them behind the point, don't hold. Say in the "
                    f"query which digits count, such as CAST({field.name} AS decimal(38, 4)) AS {field.name}."
                ) from None
    return table
