"""JSON objects as columns, for SQL: what type a member has is what its values are, never what they look like."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from fs_core.errors import SchemaError

MOST_DEPTH = 100
"""Objects and arrays within each other in a message: parsers recurse, and a process has one stack."""

_MOST_CELLS = 10**7  # of one object's members in all messages of a batch: bounds time where each has other names
_EXACT = 2**53  # whole numbers below are exact as float64
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def check_object(body: bytes) -> None:
    """Refuse a message that no parser should see; this looks at it without recursing.

    Raises:
        SchemaError: it is no object, or has more than `MOST_DEPTH` objects and arrays within each other.
    """
    stripped = body.strip()
    if not (stripped.startswith(b"{") and stripped.endswith(b"}")):
        raise SchemaError(f"it is no JSON object: {stripped[:80]!r}")
    if body.count(b"{") + body.count(b"[") <= MOST_DEPTH:
        return
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MOST_DEPTH:
            raise SchemaError(f"it has more than {MOST_DEPTH} objects and arrays within each other")


def columns_of(bodies: Sequence[bytes], wanted: Collection[str] | None) -> dict[str, pa.Array]:
    """Return JSON objects as columns by name, a row for each; absent members are null, and so are empty objects.

    A column has one type: string, bool, int64, float64, or a list or struct of them. Text stays text. So what becomes
    of a message doesn't depend on those beside it; whole numbers beside others become float64 if all are exact there.

    Args:
        bodies: that have passed `check_object`.
        wanted: the members wanted, in lower case; None for all.

    Raises:
        SchemaError: a body is no JSON, or a member's values have no common type; those of fewer bodies may.
    """
    objects = [_parsed(body) for body in bodies]
    names = _names(objects)
    if wanted is not None:
        names = [name for name in names if name.lower() in wanted]
    _check_names(names, len(objects), "message")
    columns = {}
    for name in names:
        values = [row.get(name) for row in objects]
        dtype = _type(values, name)
        try:
            columns[name] = pa.array(values, dtype)
        except (pa.ArrowException, ValueError, OverflowError) as error:
            raise SchemaError(f"member {name!r} has a value that can't be taken: {error}") from error
    return columns


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"it can't be read as JSON: {error}") from error
    return found or {}


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    """Return an object; None for an empty one, as SQL has no struct without fields."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is there twice")
    return members or None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_refuse_constant)


def _type(values: Sequence[Any], path: str) -> pa.DataType:
    """Return the one type of some values; null where there are none."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pa.null()
    if kinds == {list}:
        return pa.list_(_type([item for value in values if value is not None for item in value], path))
    if kinds == {dict}:
        values = [value for value in values if value is not None]
        names = _names(values)
        _check_names(names, len(values), path)
        return pa.struct([(name, _type([value.get(name) for value in values], f"{path}.{name}")) for name in names])
    if kinds == {int, float} and all(abs(value) < _EXACT for value in values if type(value) is int):
        return pa.float64()
    if len(kinds) > 1:
        several = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise SchemaError(f"the values of member {path!r} have no common type: {several}")
    return _TYPES[kinds.pop()]


def _names(objects: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(objects)))


def _check_names(names: Sequence[str], objects: int, path: str) -> None:
    """Refuse names of members that SQL, which ignores case, can't tell apart; those that are no text; and too many."""
    if len({name.lower() for name in names}) < len(names):
        raise SchemaError(f"members of {path!r} differ in nothing but case")
    if objects > 1 and len(names) * objects > _MOST_CELLS:
        raise SchemaError(f"{path!r} has {len(names)} different members")
    try:
        "".join(names).encode()
    except UnicodeEncodeError as error:
        raise SchemaError(f"a name of a member of {path!r} is no text: {error}") from error
