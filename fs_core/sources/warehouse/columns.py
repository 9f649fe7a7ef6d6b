"""Types of columns as databases have them: what can't be kept to the last digit is refused, by the column's name."""

from __future__ import annotations

import pyarrow as pa

from fs_core.errors import SourceError
from fs_core.values.casting import REFUSALS

_DIGITS = 38  # of the widest decimal that DuckDB has, and that a feature may be


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
