"""Rows to try code on: for each type the values at which it goes wrong, with nulls among them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa

ROWS = 48
"""How many rows of mixed values are tried, beside those that hold one special value each."""

_TEXTS = ("a", "", "Zürich", "EUR", "12.5", "7", "2024-01-15", "2024-01-15T10:30:00Z", "true", "a b", "日本", "x" * 40)
_FLOATS = (1.5, 0.0, -1.0, 1e300, -1e-300, 5e-324, math.inf, -math.inf, 0.1, 100.0, 3.0, 1e-8)
_START = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)


class Samples(NamedTuple):
    """Rows to try.

    Attributes:
        rows: all of them.
        usual: how many of the first must be computed in any case: ordinary values, a null, NaN or -0.0 among them, and
            no text, bytes or lists, of which only the user knows the form.
    """

    rows: pa.Table
    usual: int


def samples(types: Mapping[str, pa.DataType]) -> Samples:
    """Return rows of every kind of value, the same for the same types.

    Args:
        types: the columns, name and type.
    """
    draw = random.Random(0)  # noqa: S311  # nothing is kept secret by it
    special = {name: _special(dtype) for name, dtype in types.items()}
    ordinary = {name: values[0] for name, values in special.items()}
    known = {name: None if is_of_any_form(dtype) else ordinary[name] for name, dtype in types.items()}
    usual: list[dict[str, Any]] = [known, dict.fromkeys(types)]
    usual += [{**known, name: value} for name, dtype in types.items() for value in (None, *_of_usual(dtype))]
    rows = [*usual, *({**ordinary, name: value} for name in types for value in special[name])]
    rows += [{n: draw.choice([ordinary[n], None, *special[n]]) for n in types} for _ in range(ROWS)]
    columns = {name: pa.array([row[name] for row in rows], dtype) for name, dtype in types.items()}
    return Samples(pa.table(columns, schema=pa.schema(list(types.items()))), len(usual))


def is_of_any_form(dtype: pa.DataType) -> bool:
    """Return whether only the user knows what values of a type look like."""
    return bool(pa.types.is_string(dtype) or pa.types.is_binary(dtype) or pa.types.is_list(dtype))


def _of_usual(dtype: pa.DataType) -> Sequence[Any]:
    """Return the values that every function must be ready for."""
    return (math.nan, -0.0) if pa.types.is_floating(dtype) else ()


def _special(dtype: pa.DataType) -> Sequence[Any]:
    """Return values of a type at which code goes wrong; the first of them is an ordinary one."""
    if pa.types.is_boolean(dtype):
        return (True, False)
    if pa.types.is_integer(dtype):
        return _whole(dtype)
    if pa.types.is_floating(dtype):
        return _floats(dtype)
    if pa.types.is_string(dtype):
        return _TEXTS
    if pa.types.is_binary(dtype):
        return (b"a", b"", b"\x00\xff", b"text")
    if pa.types.is_decimal(dtype):
        digits = [(0, (1,)), (0, (0,)), (1, (1,)), (0, (9,) * dtype.precision)]
        return [Decimal((sign, number, -dtype.scale)) for sign, number in digits]
    if pa.types.is_date(dtype):
        return (date(2024, 2, 29), date(1970, 1, 1), date(1900, 1, 1), date(2099, 12, 31))
    if pa.types.is_timestamp(dtype):
        return _times(dtype)
    return _lists(dtype)


def _whole(dtype: pa.DataType) -> Sequence[int]:
    bits = dtype.bit_width
    signed = pa.types.is_signed_integer(dtype)
    least, greatest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    found = (3, 0, 1, -1, 7, 100, 2**53 + 1, greatest, least)
    return [value for value in found if least <= value <= greatest]


def _floats(dtype: pa.DataType) -> Sequence[float]:
    import numpy as np

    with np.errstate(all="ignore"):
        return [float(np.dtype(f"float{dtype.bit_width}").type(value)) for value in (*_FLOATS, -0.0, math.nan)]


def _times(dtype: pa.DataType) -> Sequence[datetime]:
    moments = (_START, datetime(1970, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC))
    fine = _START + timedelta(microseconds=1)
    found = [*moments, *([fine] if dtype.unit == "us" else []), datetime(2100, 12, 31, tzinfo=UTC)]
    return found if dtype.tz else [moment.replace(tzinfo=None) for moment in found]


def _lists(dtype: pa.DataType) -> Sequence[Any]:
    inner = _special(dtype.value_type)
    if pa.types.is_fixed_size_list(dtype):
        size = dtype.list_size
        return [[inner[(start + n) % len(inner)] for n in range(size)] for start in range(len(inner))]
    return [[inner[0]], [], list(inner), [None, inner[0]]]
