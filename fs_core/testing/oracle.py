"""The as-of rule by brute force: every row looked at for every question, in plain Python.

It shares no code with what it judges, and follows the words of `fs_core.rule` one by one. Rows are
dicts as `pyarrow.Table.to_pylist` gives them. Times are aware datetimes or whole microseconds since 1970.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fs_core.definitions import FeatureView

Row = Mapping[str, Any]

_EVENT_TIME, _AVAILABLE_AT, _SEQ, _TIME, _STATUS = "__event_time", "__available_at", "__seq", "__time", "__status"


def oracle_as_of(
    view: FeatureView, history: Sequence[Row], spine: Iterable[Row], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Return what `OfflineStore.as_of` must return, one dict for each spine row, in its order.

    Args:
        view: whose keys and ttl apply.
        history: rows with the keys, `__event_time`, `__available_at` (effective), `__seq` and features.
        spine: rows with the keys and `__time`.
        columns: the features wanted.
    """
    return [_answer(view, history, asked, columns) for asked in spine]


def oracle_winners(view: FeatureView, history: Iterable[Row], until: datetime | int) -> list[Row]:
    """Return each entity's winner at a moment, whether expired or not, ordered by seq."""
    best: dict[tuple[Any, ...], Row] = {}
    for row in history:
        if _micros(row[_AVAILABLE_AT]) > _micros(until):
            continue
        entity = _entity(view, row)
        if entity not in best or _order(row) > _order(best[entity]):
            best[entity] = row
    return sorted(best.values(), key=lambda row: int(row[_SEQ]))


def oracle_available_at(view: FeatureView, event_time: datetime | int, available_at: datetime | int) -> int:
    """Return the effective `a(r)` in microseconds: `max(available_at, event_time + lag)`."""
    assert isinstance(view.lag, timedelta)
    return max(_micros(available_at), _micros(event_time) + view.lag // timedelta(microseconds=1))


def bits(value: Any) -> Any:
    """Return a value so that equality means the same bits: NaN equals itself, -0.0 isn't 0.0, 1 isn't 1.0."""
    if isinstance(value, float):
        return "float", struct.pack(">d", value)
    if isinstance(value, list | tuple):
        return "list", tuple(bits(v) for v in value)
    if isinstance(value, Mapping):
        return "row", tuple((name, bits(v)) for name, v in value.items())
    if isinstance(value, datetime) and value.tzinfo:
        return "moment", _micros(value)  # in an hour that a zone repeats, datetimes are equal to nothing
    return type(value).__name__, value


def _answer(view: FeatureView, history: Sequence[Row], asked: Row, columns: Sequence[str]) -> dict[str, Any]:
    nothing: dict[str, Any] = dict.fromkeys(columns)
    missing = {**nothing, _EVENT_TIME: None, _STATUS: "missing"}
    entity = _entity(view, asked)
    if asked[_TIME] is None or any(key is None for key in entity):
        return missing
    t = _micros(asked[_TIME])
    candidates = [row for row in history if _entity(view, row) == entity and _micros(row[_AVAILABLE_AT]) <= t]
    if not candidates:
        return missing
    winner = max(candidates, key=_order)
    found = {_EVENT_TIME: winner[_EVENT_TIME]}
    if view.ttl is not None:
        assert isinstance(view.ttl, timedelta)
        if _micros(winner[_EVENT_TIME]) <= t - view.ttl // timedelta(microseconds=1):
            return {**nothing, **found, _STATUS: "expired"}
    return {**{name: winner[name] for name in columns}, **found, _STATUS: "present"}


def _entity(view: FeatureView, row: Row) -> tuple[Any, ...]:
    return tuple(row[key] for key in view.keys)


def _order(row: Row) -> tuple[int, int, int]:
    return _micros(row[_EVENT_TIME]), _micros(row[_AVAILABLE_AT]), row[_SEQ]


def _micros(moment: datetime | int) -> int:
    if isinstance(moment, int):
        return moment
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
