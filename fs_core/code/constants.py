"""Values that stay as they are for as long as a program runs, and their text in a digest."""

from __future__ import annotations

import enum
import hashlib
import re
import types
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), Decimal, Fraction)
_TIMES = (date, datetime, timedelta, timezone)
_LONGEST = 200  # characters; a longer text is known by its digest


def constant_text(value: Any) -> str | None:
    """Return a constant as text, by which another process sees whether it has the same; None if it may change.

    Constants are numbers, text, bytes, times, compiled patterns, members of an enum, dtypes, NumPy arrays that nobody
    can write to, and tuples, frozen sets and read-only mappings of these.
    """
    text = _text(value)
    if text is None or len(text) <= _LONGEST:
        return text
    return f"{type(value).__name__} sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _text(value: Any) -> str | None:
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}={_text(value.value)}"
    if type(value) in _PLAIN or isinstance(value, np.generic | np.dtype):
        return repr(value)
    if type(value) in _TIMES:
        return repr(value)
    if isinstance(value, ZoneInfo):
        return f"ZoneInfo({value.key!r})"
    if isinstance(value, re.Pattern):
        return f"re({value.pattern!r}, {value.flags})"
    if isinstance(value, pa.DataType):
        return f"pyarrow {value}"
    if isinstance(value, np.ndarray):
        return _array_text(value)
    return _group_text(value)


def _group_text(value: Any) -> str | None:
    if isinstance(value, tuple):
        return _joined("(", value, ")")
    if type(value) is frozenset:
        texts = [_text(item) for item in value]
        return None if None in texts else f"frozenset{sorted(str(text) for text in texts)}"
    if isinstance(value, types.MappingProxyType):
        return _joined("{", (item for pair in value.items() for item in pair), "}")
    return None


def _joined(opening: str, values: Iterable[Any], closing: str) -> str | None:
    texts = [_text(item) for item in values]
    return None if None in texts else f"{opening}{', '.join(str(text) for text in texts)}{closing}"


def _array_text(array: np.ndarray[Any, Any]) -> str | None:
    """Return an array's text if neither it nor what it is a part of can be written to."""
    part: Any = array
    while isinstance(part, np.ndarray):
        if part.flags.writeable:
            return None
        part = part.base
    if array.dtype.hasobject:
        return None
    return f"array {array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
