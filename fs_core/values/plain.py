"""Few rows in plain Python, as live ones come: those of several callers become one Arrow table at once.

What Arrow makes of a column follows from all values in it, so rows that are read together could come out otherwise than
alone. Not where every value of a column has one of a few plain types, the same in all rows, nulls aside: then each
value is read for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import chain
from typing import Any, NamedTuple, Self

_FEW = 100  # rows that wait to be read with those of others: who reads them holds the others up
_SAME_ALONE = frozenset({bool, int, float, str, bytes, date, datetime})
_NO_VALUE = type(None)


class PlainRows(NamedTuple):
    """Rows that are read the same alone and beside others.

    Attributes:
        columns: values by column, lists of one length that nobody else changes.
        kinds: what the values of each column are, in the same order; None where they are nulls alone. A moment's
            kind is its time zone.
        num_rows: how many rows there are.
    """

    columns: dict[str, list[Any]]
    kinds: list[Any]
    num_rows: int

    @classmethod
    def of(cls, data: Any) -> Self | None:
        """Return a mapping of names to lists as such rows; None where it is something else, or many rows."""
        if type(data) is not dict or not data:
            return None
        columns, kinds = dict[str, list[Any]](), list[Any]()
        count = -1
        for name, values in data.items():
            if type(name) is not str or type(values) is not list:
                return None
            kind = _kind(values)
            if kind is _MIXED or len(values) != (count if columns else len(values)):
                return None
            count = len(values)
            columns[name] = values.copy()
            kinds.append(kind)
        return cls(columns, kinds, count) if 0 < count <= _FEW else None

    @staticmethod
    def joined(parts: Sequence[PlainRows]) -> PlainRows | None:
        """Return the rows of several as one; None where their names, order or kinds differ."""
        names = list(parts[0].columns)
        if any(list(part.columns) != names for part in parts):
            return None
        kinds = [{*found} - {None} for found in zip(*(part.kinds for part in parts), strict=True)]
        if any(len(found) > 1 for found in kinds):
            return None
        columns = {name: list(chain.from_iterable(part.columns[name] for part in parts)) for name in names}
        return PlainRows(columns, [next(iter(found), None) for found in kinds], sum(part.num_rows for part in parts))


_MIXED, _NAIVE = object(), object()


def _kind(values: list[Any]) -> Any:
    """Return the one kind of values, None where all are None, `_MIXED` where there are several, or others."""
    kinds = {*map(type, values)}
    kinds.discard(_NO_VALUE)
    if not kinds:
        return None
    if len(kinds) > 1 or not kinds <= _SAME_ALONE:
        return _MIXED
    (kind,) = kinds
    if kind is not datetime:
        return kind
    zones = [value.tzinfo for value in values if value is not None]
    return zones[0] or _NAIVE if zones[0] in (None, UTC) and all(zone is zones[0] for zone in zones) else _MIXED
