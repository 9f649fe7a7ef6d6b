"""Casting between types of one kind, never at the price of a value."""

from __future__ import annotations

import pyarrow as pa

from fs_core.dtypes import plain_type
from fs_core.errors import SchemaError


def cast_lossless(column: pa.ChunkedArray, dtype: pa.DataType, what: str) -> pa.ChunkedArray:
    """Return `column` as `dtype` with every value the same.

    Whole numbers fit any numeric type that holds them, floats any whole-number type if they are
    whole; float64 rounds to float32 where that was declared. Text stays text, booleans booleans; a
    naive time is UTC. A column of nothing but nulls fits everything.

    Args:
        column: the values.
        dtype: the declared type.
        what: how the error begins, such as `"view 'x': column 'y'"`.

    Raises:
        SchemaError: the kinds differ, or a value doesn't fit; names the first row (from 0) and value.
    """
    plain = plain_type(column.type)
    if plain != column.type:
        column = column.cast(plain)
    if plain == dtype:
        return column
    if not _is_one_kind(plain, dtype):
        raise SchemaError(f"{what} is {plain}, declared as {dtype}. Convert it first, or declare another type.")
    try:
        return column.cast(dtype)
    except pa.ArrowInvalid as error:
        row = _first_failure(column, dtype)
        raise SchemaError(
            f"{what} can't become {dtype} without loss: row {row} holds {column[row].as_py()!r}. "
            "Mend the value, or declare a wider type."
        ) from error


def _is_one_kind(have: pa.DataType, want: pa.DataType) -> bool:
    if pa.types.is_null(have):
        return True
    if _is_list(have) and _is_list(want):
        return _is_one_kind(have.value_type, want.value_type)
    if pa.types.is_date(have):
        return bool(pa.types.is_date(want) or pa.types.is_timestamp(want))
    return any(kind(have) and kind(want) for kind in (_is_number, *_SAME))


_SAME = (pa.types.is_boolean, pa.types.is_string, pa.types.is_binary, pa.types.is_timestamp)


def _is_number(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype))


def _is_list(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_list(dtype) or pa.types.is_fixed_size_list(dtype))


def _first_failure(column: pa.ChunkedArray, dtype: pa.DataType) -> int:
    """Return the first row that doesn't cast, by halving: a cast of a prefix fails once it holds one."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(dtype)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low
