"""Values of text files in the types that were declared, digit for digit. Nothing is guessed; what doesn't fit is named.

A kind is a declared type, or `"up"` or `"down"` for a column of moments, which says how what is finer than a
microsecond is rounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from fs_core.errors import SchemaError
from fs_core.values.casting import REFUSALS, cast_lossless, first_failure
from fs_core.values.interchange import array_of
from fs_core.values.times import MICROSECONDS, Rounding, from_iso

Kind: TypeAlias = pa.DataType | Rounding
Kinds = Mapping[str, Kind]

_WIDEST = pa.decimal256(76, 38)  # holds all digits of what fits any declared decimal or whole number
_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}
_NUMBER = re.compile(r"[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_MANY_DIGITS = 9  # behind the point; nobody writes money with as many
_WRITE_ISO = "Write it as ISO 8601 {}, or parse it with pandas and pass the frame."
EXACT_IN_FLOAT = 2**53
"""Below it a float64 holds every whole number."""


def type_of(kind: Kind) -> pa.DataType:
    """Return the type of the values that are made of a kind; whoever checks them narrows floats and fixes lengths."""
    if isinstance(kind, str):
        return MICROSECONDS
    if _is_list(kind):
        return pa.list_(type_of(kind.value_type))
    return pa.float64() if pa.types.is_floating(kind) else kind


def column_of_texts(texts: pa.Array, name: str, kind: Kind, first: int = 0) -> pa.Array:
    """Return a column of a CSV in its kind; a text that is empty or all blanks is null unless text was declared.

    Args:
        texts: strings.
        name: of the column.
        kind: what was declared.
        first: the row in the file that the first text is in.

    Raises:
        SchemaError: a text is no such value, or a CSV can't hold the kind; names the row (from 0) and the text.
    """
    if not isinstance(kind, str) and pa.types.is_string(kind):
        return texts
    texts = pc.ascii_trim_whitespace(texts)
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    return _attempted(lambda start, end: _of_texts(texts.slice(start, end - start), kind), texts, name, kind, first)


def column_of_objects(values: Sequence[Any], name: str, kind: Kind, first: int = 0) -> pa.Array:
    """Return a column of JSON, as Python reads it, in its kind; decimals and times may be text.

    Args:
        values: as Python reads them from JSON.
        name: of the column.
        kind: what was declared.
        first: the row in the file that the first value is in.

    Raises:
        SchemaError: a value isn't of the kind; names the row (from 0) and the value.
    """
    return _attempted(lambda start, end: _of_objects(values[start:end], kind), values, name, kind, first)


def _attempted(
    attempt: Callable[[int, int], pa.Array], values: pa.Array | Sequence[Any], name: str, kind: Kind, first: int
) -> pa.Array:
    try:
        return attempt(0, len(values))
    except REFUSALS as error:
        row = first_failure(len(values), attempt)
        value = values[row].as_py() if isinstance(values, pa.Array) else values[row]
        way_out = _way_out(kind, isinstance(values, pa.Array))
        says = f"row {first + row} holds {_shown(value)}"
        raise SchemaError(f"column {name!r} {_declared(kind)}: {says}. {way_out}") from error


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else repr(value)


def _declared(kind: Kind) -> str:
    return "takes ISO 8601 times only" if isinstance(kind, str) else f"is declared as {kind}"


def _way_out(kind: Kind, is_text: bool) -> str:
    if isinstance(kind, str):
        return _WRITE_ISO.format("with an offset, such as 2024-01-15T10:30:00Z")
    if pa.types.is_timestamp(kind):
        return _WRITE_ISO.format(f"with an offset, such as 2024-01-15T10:30:00Z, and no finer than {kind.unit}")
    if pa.types.is_date(kind):
        return _WRITE_ISO.format("such as 2024-01-15")
    if pa.types.is_binary(kind):
        return "Text can't hold bytes: write Parquet."
    if _is_list(kind) and is_text:
        return "A CSV can't hold lists: write JSON or Parquet."
    return "Mend the value, or declare another type."


def _of_texts(texts: pa.Array, kind: Kind) -> pa.Array:
    """Parse texts, or raise one of `REFUSALS`."""
    if texts.null_count == len(texts):
        return pa.nulls(len(texts), type_of(kind))
    if isinstance(kind, str):
        return from_iso(texts, "up" if kind == "up" else "down")
    if pa.types.is_timestamp(kind):
        return from_iso(texts, None).cast(kind)
    if pa.types.is_boolean(kind):
        return _booleans(texts)
    if pa.types.is_integer(kind):
        return _whole_numbers(texts, kind)
    if pa.types.is_floating(kind):
        return _floats(texts)
    if pa.types.is_decimal(kind):
        return _decimals(texts, kind)
    if pa.types.is_date(kind):
        return _dates(texts, kind)
    raise pa.ArrowInvalid(f"text can't hold {kind}")


def _booleans(texts: pa.Array) -> pa.Array:
    found = pc.index_in(pc.utf8_lower(texts), pa.array(list(_BOOLEANS)))
    _refuse(pc.and_(pc.is_null(found), pc.is_valid(texts)))
    return pa.array(list(_BOOLEANS.values())).take(found)


def _whole_numbers(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    if not any(pc.any(pc.match_substring(texts, x)).as_py() for x in "xX"):  # Arrow reads 0x1f as 31
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            pass
    return texts.cast(_WIDEST).cast(kind)  # 3.0 and 3e0, which pandas writes where others are missing, are 3


def _floats(texts: pa.Array) -> pa.Array:
    found = texts.cast(pa.float64())
    large = pc.greater_equal(pc.abs(found), EXACT_IN_FLOAT)
    if pc.any(large).as_py():
        for text, number in zip(texts.filter(large).to_pylist(), found.filter(large).to_pylist(), strict=True):
            # A number with a point is the nearest float; a whole one may be an identity, which nearest is too far for.
            if math.isinf(number) != ("inf" in text.lower()) or (_WHOLE.fullmatch(text) and int(text) != number):
                raise pa.ArrowInvalid("a number would change")
    return found


def _dates(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        return _cast(from_iso(texts, None), kind)  # a time that is midnight


def _decimals(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    if not pc.any(pc.match_substring(texts, "e", ignore_case=True)).as_py():  # Arrow reads 5e-324 as 0 at times
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            pass
    try:
        return texts.cast(_WIDEST).cast(kind)  # zeros behind the declared digits change nothing
    except pa.ArrowInvalid:
        meant = [text and _decimal_meant(text, kind.scale) for text in texts.to_pylist()]
        return pa.array(meant, pa.string()).cast(_WIDEST).cast(kind)


def _decimal_meant(text: str, scale: int) -> str:
    """Return a decimal's text; where a float64's 17 digits don't fit (0.91000000000000003), the shortest (0.91)."""
    if not _NUMBER.fullmatch(text) or _fits(text, scale) or not is_float(text, float(text)):
        return text
    return repr(float(text))


def _fits(text: str, scale: int) -> bool:
    return bool((Fraction(text) * 10**scale).denominator == 1)


def _refuse(wrong: pa.Array) -> None:
    if pc.any(wrong).as_py():
        raise pa.ArrowInvalid("a text is no such value")


def _of_objects(values: Sequence[Any], kind: Kind) -> pa.Array:
    """Take Python's values of JSON, or raise one of `REFUSALS`."""
    if isinstance(kind, str) or pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _of_texts(_texts(values, str), kind)
    if pa.types.is_decimal(kind):
        return _of_texts(_texts(values, str, int, Decimal), kind)
    if _is_list(kind):
        return _lists(values, kind)
    if pa.types.is_floating(kind):
        values = [_float(value) if isinstance(value, Decimal) else value for value in values]
    elif pa.types.is_integer(kind):
        values = [_whole(value) if isinstance(value, Decimal) else value for value in values]
    try:
        return _cast(array_of(values), type_of(kind))
    except (OverflowError, UnicodeError) as error:
        raise pa.ArrowInvalid(str(error)) from error


def _cast(values: pa.Array, dtype: pa.DataType) -> pa.Array:
    try:
        return cast_lossless(pa.chunked_array([values]), dtype, "").combine_chunks()
    except SchemaError as error:
        raise pa.ArrowInvalid(str(error)) from error


def _texts(values: Sequence[Any], *kinds: type) -> pa.Array:
    """Return values as text, each of which must be of one of some types."""
    if not all(value is None or (isinstance(value, kinds) and not isinstance(value, bool)) for value in values):
        raise pa.ArrowInvalid("a value is of another type")
    try:
        texts = pa.array([None if value is None else str(value) for value in values], pa.string())
    except UnicodeError as error:
        raise pa.ArrowInvalid(str(error)) from error
    return pc.ascii_trim_whitespace(texts)


def _float(value: Decimal) -> float:
    found = float(value)
    if math.isinf(found):
        raise pa.ArrowInvalid("a number is beyond any float")
    return found


def _whole(value: Decimal) -> int | Decimal:
    return int(value) if value == value.to_integral_value() else value


def _lists(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if not all(value is None or isinstance(value, list) for value in values):
        raise pa.ArrowInvalid("a value is no list")
    flat = _of_objects([item for value in values if value is not None for item in value], kind.value_type)
    ends = accumulate((len(value or ()) for value in values), initial=0)
    absent = pa.array([value is None for value in values], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(list(ends), pa.int32()), flat, mask=absent)


def _is_list(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_list(dtype) or pa.types.is_fixed_size_list(dtype))


def is_float(text: str, number: float) -> bool:
    """Return whether a text is how programs write a float64: with an exponent, by its shortest digits, or by 17.

    Money and other decimals have few digits behind the point; 17 digits count where there are many.
    """
    lowered = text.lower()
    if "n" in lowered or "e" in lowered:
        return "n" in lowered or math.isfinite(number)
    exact = Decimal(text)
    behind = len(text.partition(".")[2])
    return exact == Decimal(repr(number)) or (behind >= _MANY_DIGITS and exact == Decimal(f"{number:.17g}"))
