"""Requests in strict JSON: nothing is guessed, and no number becomes another.

JSON has no NaN, times, bytes or decimals. NaN and infinities are the texts "NaN", "Infinity", "-Infinity", as in
Protobuf's JSON; times and dates are ISO 8601, bytes base64, decimals numbers or text. Whole numbers and decimals keep
every digit.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pyarrow as pa

from fs_core.errors import SchemaError, did_you_mean
from fs_core.server.problems import RefusedError
from fs_core.values.casting import cast_lossless, parse_text
from fs_core.values.dtypes import canonical
from fs_core.values.interchange import to_table

SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""The floats that JSON has no number for, by their texts."""


def parse(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is.

    Raises:
        RefusedError: it is none, a name comes twice, or a number is too great or none of JSON.
    """
    try:
        found = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RefusedError(400, f"The body is no JSON: {reason}. Send one JSON object in UTF-8.") from error
    if not isinstance(found, dict):
        raise RefusedError(400, f"The body is a JSON {type(found).__name__}. Send an object: {{...}}.")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} comes twice in an object")
    return found


class _Long(float):
    """A number with more digits than every float64 keeps, and these digits."""

    text: str


def _number(text: str) -> float:
    found = float(text)
    if math.isinf(found):
        raise ValueError(f"{text[:40]} is greater than any float64; an infinity is the text 'Infinity'")
    if len(text) <= sys.float_info.dig:
        return found
    long = _Long(found)
    long.text = text
    return long


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON; write the text {text!r} with quotes")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_no_number)


def check_names(body: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse a member that nobody reads.

    Raises:
        RefusedError: names it, and what was meant perhaps.
    """
    for name in body:
        if name not in known:
            raise RefusedError(400, f"There is no member {name[:80]!r} here.{did_you_mean(name, known)}")


def member(body: Mapping[str, Any], name: str, kind: type, default: Any = None) -> Any:
    """Return a member of a body, or the default where it is absent or null.

    Args:
        body: the request.
        name: the member's name.
        kind: of which type it must be: `str`, `bool`, ...
        default: what stands for an absent one.

    Raises:
        RefusedError: it is of another type.
    """
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        words = {str: "text", bool: "true or false", dict: "an object", list: "a list"}
        raise RefusedError(400, f"The member {name!r} is {_shown(value)}; send {words[kind]}.")
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_CELLS = 10_000  # that may be made of objects which lack members, beside four times as many as came


def columns_of(body: Mapping[str, Any], name: str, limit: int) -> dict[str, list[Any]]:
    """Return the rows of a member by column: it is an object of lists, or a list of objects.

    Args:
        body: the request.
        name: the member's name.
        limit: how many rows there may be.

    Raises:
        RefusedError: it is neither, its lists differ in length, there are more rows, or rows that hardly share columns.
    """
    given = body.get(name)
    if isinstance(given, list) and all(isinstance(row, dict) for row in given):
        _refuse_rows(len(given), name, limit)
        return _by_column(given, name)
    if isinstance(given, dict) and all(isinstance(values, list) for values in given.values()):
        lengths = {column: len(values) for column, values in given.items()}
        if len(set(lengths.values())) > 1:
            raise RefusedError(400, f"The columns of {name!r} differ in length: {_shown(lengths)}.")
        count, columns = max(lengths.values(), default=0), given
    else:
        raise RefusedError(
            400, f"The member {name!r} must be an object of lists, a list for each column, or a list of objects."
        )
    _refuse_rows(count, name, limit)
    return columns


def _refuse_rows(count: int, name: str, limit: int) -> None:
    if count > limit:
        raise RefusedError(413, f"{name!r} has {count:,} rows, and {limit:,} are allowed. Send several requests.")


def _by_column(rows: list[dict[str, Any]], name: str) -> dict[str, list[Any]]:
    """Return objects by column, null where one lacks a member; that may be far more than what was sent."""
    names, sent = list(dict.fromkeys(column for row in rows for column in row)), sum(map(len, rows))
    if len(names) * len(rows) > 4 * sent + _CELLS:
        raise RefusedError(
            413,
            f"The {len(rows):,} objects of {name!r} have {sent:,} members with {len(names):,} names. Send those that "
            "have the same members together, or an object of lists.",
        )
    return {column: [row.get(column) for row in rows] for column in names}


def typed(columns: Mapping[str, list[Any]], types: Mapping[str, pa.DataType], what: str) -> dict[str, Any]:
    """Return columns of JSON's values as Arrow has them, in their declared types.

    Args:
        columns: lists by name.
        types: the declared types by name; another column gets the type of its values.
        what: how errors call the rows.

    Raises:
        SchemaError: a value doesn't fit its type.
    """
    return {name: _column(values, types.get(name), name, what) for name, values in columns.items()}


def needed(columns: Mapping[str, list[Any]], types: Mapping[str, pa.DataType], what: str) -> dict[str, Any]:
    """Return `typed` columns; of those that nobody reads the names alone, since errors may guess by them.

    Args:
        columns: lists by name.
        types: the declared types of what is read, by name.
        what: how errors call the rows.

    Raises:
        SchemaError: a value doesn't fit its type.
    """
    read = {name: values if name in types else [None] * len(values) for name, values in columns.items()}
    return typed(read, types, what)


def are_plain(columns: Mapping[str, list[Any]], types: Mapping[str, pa.DataType]) -> bool:
    """Return whether columns are those needed, with values that Arrow takes as they are, each whatever the others are.

    Args:
        columns: lists by name.
        types: the declared types of what is needed, by name.
    """
    return columns.keys() == types.keys() and all(
        {*map(type, columns[name])} <= _KINDS.get(dtype, _NO_KINDS) and _fit(columns[name], dtype)
        for name, dtype in types.items()
    )


def _fit(values: list[Any], dtype: pa.DataType) -> bool:
    """Return whether numbers of Python have their place in a type."""
    return dtype != pa.int64() or all(value is None or -_INT64 <= value < _INT64 for value in values)


def _column(values: list[Any], dtype: pa.DataType | None, name: str, what: str) -> pa.Array | pa.ChunkedArray:
    if {*map(type, values)} <= _KINDS.get(dtype, _NO_KINDS):
        with suppress(pa.ArrowException, ValueError, OverflowError):  # said better below
            return pa.array(values, dtype)
    role = f"{what}: column {name!r}"
    column = to_table({name: _ready(values, dtype, role)}, what).column(0)
    if dtype is None or column.type == dtype:
        return column
    return cast_lossless(parse_text(column, dtype, role), dtype, role)


_INT64 = 1 << 63
_NONE = type(None)
_NO_KINDS: frozenset[type] = frozenset()
_KINDS: Mapping[pa.DataType, frozenset[type]] = {
    pa.int64(): frozenset((int, _NONE)),
    pa.float64(): frozenset((float, _Long, _NONE)),
    pa.string(): frozenset((str, _NONE)),
    pa.bool_(): frozenset((bool, _NONE)),
}
"""The types that JSON has itself, and the values of Python that Arrow takes for them as they are."""


def _ready(values: list[Any], dtype: pa.DataType | None, what: str) -> list[Any]:
    """Return values with what JSON has no form for in its place."""
    if dtype is None:
        kinds, texts = {*map(type, values)}, {value for value in values if isinstance(value, str)}
        has_numbers = bool(kinds & {int, float})
        return [SPECIAL.get(v, v) if isinstance(v, str) else v for v in values] if has_numbers and texts else values
    inner = dtype.value_type if pa.types.is_list(dtype) or pa.types.is_fixed_size_list(dtype) else None
    if inner is not None:
        return [_ready(value, inner, what) if isinstance(value, list) else value for value in values]
    if pa.types.is_floating(dtype):
        return [SPECIAL.get(value, value) if isinstance(value, str) else value for value in values]
    if pa.types.is_decimal(dtype):
        exact = [_digits(value) if type(value) in (int, float, _Long) else value for value in values]
        has_text = any(isinstance(value, str) for value in exact)
        return [format(value, "f") if has_text and isinstance(value, Decimal) else value for value in exact]
    if pa.types.is_binary(dtype):
        return [_bytes(value, row, what) if isinstance(value, str) else value for row, value in enumerate(values)]
    if not pa.types.is_string(dtype) and not pa.types.is_boolean(dtype):
        _refuse_unlike(values, dtype, what)
    return values


def _digits(number: float) -> Decimal:
    """Return a number with the digits that it was written with."""
    return Decimal(number.text if isinstance(number, _Long) else repr(number))


def _refuse_unlike(values: list[Any], dtype: pa.DataType, what: str) -> None:
    """Refuse text among whole numbers, which Arrow calls an object, and fractions whose digits a float hasn't kept."""
    if pa.types.is_integer(dtype):
        for row, value in enumerate(values):
            if isinstance(value, str | _Long):
                held = f"the text {value[:40]!r}" if isinstance(value, str) else value.text[:40]
                raise SchemaError(f"{what}, row {row} holds {held}; send {canonical(dtype)}.")


def _bytes(text: str, row: int, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SchemaError(f"{what}, row {row} holds {text[:40]!r}, which is no base64: {error}.") from error
