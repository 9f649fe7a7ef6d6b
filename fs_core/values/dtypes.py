"""The types a feature or key may have, their names, and how history stores them.

A dtype is declared as a pyarrow type or as text: `int64`, `float32`, `string`, `bool`, `binary`,
`date`, `timestamp` (UTC microseconds), `decimal(10, 2)`, `list<float32>` or, for embeddings,
`list<float32>[384]`. Every alias that pyarrow knows means what it means there. `canonical` gives the
one text that definitions are stored and compared by.
"""

from __future__ import annotations

import re
from typing import TypeVar

import pyarrow as pa

from fs_core.errors import DefinitionError

Column = TypeVar("Column", pa.Array, pa.ChunkedArray)

_ALIASES = {"int": pa.int64(), "bytes": pa.binary(), "date": pa.date32(), "timestamp": pa.timestamp("us", tz="UTC")}
"""Our own, beside those of pyarrow."""
_NAMES = (
    *("binary", "bool", "bytes", "date", "float16", "float32", "float64", "int", "int8", "int16", "int32", "int64"),
    *("str", "string", "timestamp", "uint8", "uint16", "uint32", "uint64"),
)
"""Of the scalars that there are, timestamps of other units and decimals aside; errors offer them."""
_LIST = re.compile(r"list<(.+)>(?:\[([0-9]{1,9})\])?")
_DECIMAL = re.compile(r"decimal(?:128)?\(\s*([0-9]{1,3})\s*,\s*(-?[0-9]{1,3})\s*\)")
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us)(?:,\s*(?:tz=)?([^\]]+))?\]")
_OFFSET = re.compile(r"[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]")
_LONGEST = 100  # characters in a dtype's name; longer text is no dtype, however it nests

# Delta tables know no unsigned integers and no half floats: each is kept in the next wider type.
_WIDER: dict[pa.DataType, pa.DataType] = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
}


def resolve(dtype: pa.DataType | str, what: str = "dtype") -> pa.DataType:
    """Return the Arrow type that `dtype` names, in its plain form.

    `large_string` and `string_view` become `string`, dictionaries their value type, large lists
    plain lists: layouts differ, values don't.

    Raises:
        DefinitionError: the text names no type, or no back-end can carry it.
    """
    found = _parse(dtype) if isinstance(dtype, str) else dtype
    if not isinstance(found, pa.DataType):
        raise DefinitionError(
            f"{what}: {dtype!r} is no dtype. Use a pyarrow type or one of {', '.join(_NAMES)}, "
            "decimal(p, s), list<T>, list<T>[n]."
        )
    plain = plain_type(found)
    if not is_supported(plain):
        raise DefinitionError(f"{what}: {found} can't be stored. {_way_out(plain)}")
    zone = getattr(_scalar_of(plain), "tz", None)
    if zone is not None and not _is_zone(zone):
        raise DefinitionError(f"{what}: there is no time zone {zone!r}. Use timestamp[us, UTC].")
    return plain


def canonical(dtype: pa.DataType) -> str:
    """Return the text that `resolve` reads back as exactly this type."""
    if pa.types.is_fixed_size_list(dtype):
        return f"list<{canonical(dtype.value_type)}>[{dtype.list_size}]"
    if pa.types.is_list(dtype):
        return f"list<{canonical(dtype.value_type)}>"
    if pa.types.is_decimal128(dtype):
        return f"decimal({dtype.precision}, {dtype.scale})"
    if pa.types.is_timestamp(dtype):
        return f"timestamp[{dtype.unit}{', ' + dtype.tz if dtype.tz else ''}]"
    names = {pa.float16(): "float16", pa.float32(): "float32", pa.float64(): "float64", pa.date32(): "date32"}
    return names.get(dtype, str(dtype))


def is_supported(dtype: pa.DataType) -> bool:
    """Return whether a feature may have this (plain) type."""
    if pa.types.is_fixed_size_list(dtype) and dtype.list_size == 0:
        return False
    return _is_scalar(_scalar_of(dtype))


def is_key_type(dtype: pa.DataType) -> bool:
    """Return whether a key may have this (plain) type: one whose equality nobody argues about."""
    return is_supported(dtype) and not (
        pa.types.is_floating(dtype) or pa.types.is_nested(dtype) or pa.types.is_decimal(dtype)
    )


def fits(value: int, dtype: pa.DataType) -> bool:
    """Tell whether a whole number is one of a type of whole numbers."""
    bits = int(dtype.bit_width)
    least, end = (-(1 << bits - 1), 1 << bits - 1) if pa.types.is_signed_integer(dtype) else (0, 1 << bits)
    return least <= value < end


def storage_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type in which a Delta table keeps `dtype` without loss; cast back on read."""
    if pa.types.is_timestamp(dtype):
        return pa.timestamp("us", tz="UTC" if dtype.tz else None)
    if pa.types.is_list(dtype) or pa.types.is_fixed_size_list(dtype):
        return pa.list_(storage_type(dtype.value_type))
    return _WIDER.get(dtype, dtype)


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """Return `dtype` without its layout: what the values are, not how they are kept."""
    if pa.types.is_dictionary(dtype):
        return plain_type(dtype.value_type)
    if pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return pa.string()
    if pa.types.is_large_binary(dtype) or pa.types.is_binary_view(dtype):
        return pa.binary()
    if pa.types.is_fixed_size_list(dtype):
        return pa.list_(plain_type(dtype.value_type), dtype.list_size)
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return pa.list_(plain_type(dtype.value_type))
    return dtype


def as_type(column: Column, dtype: pa.DataType) -> Column:
    """Return a column cast to a type, by Arrow's own cast but for lists that are all null.

    To fill the room of null lists in a column of lists of one length, that cast takes the first value that any list
    holds, without looking whether there is one (`CastVarToFixedList` in Arrow 25): it showed other memory, or crashed.

    Args:
        column: an array, or a chunked one.
        dtype: its type from now on.

    Raises:
        pa.ArrowInvalid, pa.ArrowTypeError: as Arrow's cast.
    """
    if column.type == dtype:
        return column
    if not pa.types.is_fixed_size_list(dtype) or pa.types.is_fixed_size_list(column.type):
        return column.cast(dtype)
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([as_type(chunk, dtype) for chunk in column.chunks], dtype)
    return pa.nulls(len(column), dtype) if column.null_count == len(column) else column.cast(dtype)


def _parse(text: str) -> pa.DataType | None:
    text = text.strip()
    if text in _ALIASES or len(text) > _LONGEST:
        return _ALIASES.get(text)
    if match := _LIST.fullmatch(text):
        inner = _parse(match[1])
        if inner is None:
            return None
        return pa.list_(inner, int(match[2])) if match[2] else pa.list_(inner)
    if match := _DECIMAL.fullmatch(text):
        precision, scale = int(match[1]), int(match[2])
        return pa.decimal128(precision, scale) if 1 <= precision <= 38 else None
    if match := _TIMESTAMP.fullmatch(text):
        return pa.timestamp(match[1], tz=match[2])
    try:
        return pa.type_for_alias(text)
    except ValueError:
        return None


def _scalar_of(dtype: pa.DataType) -> pa.DataType:
    """Return the type of a list's elements, or the type itself."""
    return dtype.value_type if pa.types.is_list(dtype) or pa.types.is_fixed_size_list(dtype) else dtype


def _is_zone(name: str) -> bool:
    """Return whether Python, and so Arrow's values, can show times in a zone."""
    from zoneinfo import ZoneInfo

    if name == "UTC" or _OFFSET.fullmatch(name):
        return True
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return False
    return True


def _is_scalar(dtype: pa.DataType) -> bool:
    if pa.types.is_timestamp(dtype):
        return bool(dtype.unit != "ns")
    if pa.types.is_decimal(dtype):
        return bool(pa.types.is_decimal128(dtype) and 0 <= dtype.scale <= dtype.precision)
    return dtype in _SCALARS


_SCALARS = frozenset(map(_parse, _NAMES))


def _way_out(dtype: pa.DataType) -> str:
    if pa.types.is_timestamp(_scalar_of(dtype)):
        return "Use timestamp[us]: the store keeps microseconds."
    if pa.types.is_decimal(_scalar_of(dtype)):
        return "Use decimal(p, s) with p from 1 to 38 and s from 0 to p."
    if pa.types.is_date(_scalar_of(dtype)):
        return "Use date."
    if pa.types.is_duration(dtype) or pa.types.is_time(dtype):
        return "Use int64 and name the unit in the description."
    if pa.types.is_map(dtype):
        return "Declare a list for its keys and one for its values, or one field for each key that matters."
    if pa.types.is_struct(dtype):
        return "Declare one field for each member."
    return "Use a scalar, list<T> or list<T>[n] of a scalar T."
