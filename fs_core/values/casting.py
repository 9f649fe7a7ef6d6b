"""Casting between types of one kind, never at the price of a value."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from fs_core.errors import SchemaError
from fs_core.values.dtypes import as_type, plain_type
from fs_core.values.times import Rounding, from_iso

REFUSALS = (pa.ArrowInvalid, pa.ArrowTypeError)
"""What Arrow raises for a value that doesn't fit a type."""

_FIRST_SHARED = {pa.float32(): 2.0**24, pa.float64(): 2.0**53}
"""The least float that two whole numbers round to."""
_WHOLE = pa.decimal128(20, 0)  # holds every whole number of 64 bits; Arrow casts no narrower decimal from one


def cast_lossless(column: pa.ChunkedArray, dtype: pa.DataType, what: str) -> pa.ChunkedArray:
    """Return `column` as `dtype` with every value the same.

    Whole numbers fit any numeric type that holds them, floats any whole-number or decimal type that
    holds them; a float stands for the shortest decimal that it is nearest to, and a decimal becomes the
    nearest float; float64 rounds to float32 where that was declared, but not to infinity. A float of 2**53
    or more in magnitude (2**24 in a float32) becomes no whole number: 2**53 + 1 is the same float as 2**53,
    so it may have been another one before somebody made it a float, as pandas does with an int64 beside a null.
    Text stays text, booleans booleans; a naive time is UTC, and midnight UTC a date. A column of nothing but
    nulls fits everything.

    Args:
        column: the values.
        dtype: the declared type.
        what: how the error begins, such as `"view 'x': column 'y'"`.

    Raises:
        SchemaError: the kinds differ, or a value doesn't fit; names the first row (from 0) and value.
    """
    if column.type == dtype:
        return column
    plain = plain_type(column.type)
    if plain != column.type:
        column = column.cast(plain)
    if plain == dtype:
        return column
    if not _is_one_kind(plain, dtype):
        raise SchemaError(f"{what} is {plain}, declared as {dtype}. Convert it first, or declare another type.")
    try:
        return _exact(column, dtype)
    except REFUSALS as error:
        row = first_failure(len(column), lambda start, end: _exact(column.slice(start, end - start), dtype))
        raise SchemaError(
            f"{what} can't become {dtype} without loss: row {row} holds {_shown(column[row])}. {_way_out(plain, dtype)}"
        ) from error


def parse_text(
    column: pa.ChunkedArray, dtype: pa.DataType, what: str, *, rounding: Rounding = "down"
) -> pa.ChunkedArray:
    """Return text as the times, dates or decimals that it stands for in JSON, which has none of them.

    ISO 8601; without an offset it is UTC. A column of another type, or for
    another type, comes back as it is.

    Args:
        column: the values.
        dtype: the declared type.
        what: how the error begins, such as `"X: column 'day'"`.
        rounding: where moments between two microseconds go: `down`, or `up` for facts.

    Raises:
        SchemaError: a text stands for no such value; names the first row (from 0) and text.
    """
    is_time = pa.types.is_timestamp(dtype) or pa.types.is_date(dtype)
    if not pa.types.is_string(plain_type(column.type)) or not (is_time or pa.types.is_decimal(dtype)):
        return column
    texts = column.cast(pa.string()).combine_chunks()

    def parse(start: int, end: int) -> pa.Array:
        part = texts.slice(start, end - start)
        return from_iso(part, rounding) if is_time else part.cast(dtype)

    try:
        return pa.chunked_array([parse(0, len(texts))])
    except REFUSALS as error:
        row = first_failure(len(texts), parse)
        wanted = "an ISO 8601 time, such as '2024-01-15T10:30:00Z'" if is_time else f"a number that fits {dtype}"
        raise SchemaError(f"{what}: row {row} holds {texts[row].as_py()!r}, which is not {wanted}.") from error


def _exact(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    """Cast; raise `ArrowInvalid` where Arrow itself would round, cut off a time of day, or overflow to infinity."""
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())  # exact, and Arrow casts it to more types
    have = column.type
    if _is_list(have) and _is_list(dtype):
        return pa.chunked_array([_exact_lists(chunk, dtype) for chunk in column.chunks], dtype)
    if pa.types.is_decimal(dtype):
        return _exact_decimals(column, dtype)
    if pa.types.is_timestamp(have) and pa.types.is_date(dtype):
        return _exact_dates(column, dtype)
    if pa.types.is_decimal(have) and pa.types.is_floating(dtype):
        column = column.cast(pa.string()).cast(pa.float64())  # the nearest, which Arrow's own cast often misses
    cast = column.cast(dtype)
    if pa.types.is_floating(have) and pa.types.is_integer(dtype):
        _refuse(pc.greater_equal(pc.abs(column), _FIRST_SHARED[have]))
    elif pa.types.is_floating(column.type) and pa.types.is_floating(dtype):
        _refuse(pc.and_(pc.is_inf(cast.cast(pa.float64())), pc.is_finite(column.cast(pa.float64()))))
    return cast


def _exact_lists(lists: pa.Array, dtype: pa.DataType) -> pa.Array:
    """Cast what lists hold."""
    inside = _exact(pa.chunked_array([pc.list_flatten(lists)]), dtype.value_type).combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    ends = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
    found = pa.ListArray.from_arrays(ends, inside, mask=pc.is_null(lists))
    return as_type(found, dtype)


def _exact_decimals(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    """Cast numbers to decimals; a float by way of its text, the shortest decimal that is read as this float."""
    if pa.types.is_integer(column.type):
        return column.cast(_WHOLE).cast(dtype)
    if not pa.types.is_floating(column.type):
        return column.cast(dtype)
    cast = column.cast(pa.string()).cast(dtype)
    _refuse(pc.not_equal(cast.cast(pa.string()).cast(column.type), column))
    return cast


def _exact_dates(times: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    """Cast times of midnight UTC to their dates."""
    naive = times.cast(pa.timestamp(times.type.unit))
    dates = naive.cast(pa.date32())
    _refuse(pc.not_equal(dates.cast(naive.type), naive))
    return dates.cast(dtype)


def _way_out(have: pa.DataType, dtype: pa.DataType) -> str:
    if pa.types.is_floating(have) and pa.types.is_integer(dtype):
        return (
            "A whole number that was made a float may have become another one. Keep it whole: in pandas as 'Int64' "
            "(convert_dtypes, or dtype= where it is read), which holds nulls too."
        )
    if pa.types.is_timestamp(have) and pa.types.is_date(dtype):
        return "It has a time of day. Pass the date alone."
    if _is_list(have) and pa.types.is_fixed_size_list(dtype):
        return f"Each list must have {dtype.list_size} elements."
    return "Mend the value, or declare a wider type."


def _refuse(lost: pa.ChunkedArray) -> None:
    if pc.any(lost).as_py():
        raise pa.ArrowInvalid("a value would change")


def _shown(value: pa.Scalar) -> str:
    try:
        return repr(value.as_py())
    except (OverflowError, ValueError):  # a date or time that Python has no year for
        return f"{value.type} beyond the year 9999 or before the year 1"


def _is_one_kind(have: pa.DataType, want: pa.DataType) -> bool:
    if pa.types.is_null(have):
        return True
    if _is_list(have) and _is_list(want):
        return _is_one_kind(have.value_type, want.value_type)
    if pa.types.is_date(have):
        return bool(pa.types.is_date(want) or pa.types.is_timestamp(want))
    if pa.types.is_timestamp(have) and pa.types.is_date(want):
        return True
    return any(kind(have) and kind(want) for kind in (_is_number, *_SAME))


_SAME = (pa.types.is_boolean, pa.types.is_string, pa.types.is_binary, pa.types.is_timestamp)


def _is_number(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype))


def _is_list(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_list(dtype) or pa.types.is_fixed_size_list(dtype))


def first_failure(
    length: int, attempt: Callable[[int, int], object], failures: tuple[type[Exception], ...] = REFUSALS
) -> int:
    """Return the first of `length` rows that fails, by halving: some rows fail together once one of them does.

    Args:
        length: how many rows there are, one of which fails.
        attempt: takes the rows from a start to before an end, such as to cast them, or raises.
        failures: what it raises.
    """
    low, high = 0, length
    while high - low > 1:
        middle = (low + high) // 2
        try:
            attempt(low, middle)
            low = middle
        except failures:
            high = middle
    return low
