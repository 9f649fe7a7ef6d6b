"""Windows by brute force: every event looked at for every question, in plain Python.

It shares no code with what it judges, and follows the words of `fs_core.windows` one by one. Sums are exact:
whole numbers, or fractions. Rows are dicts as `pyarrow.Table.to_pylist` gives them; times are aware datetimes or
whole microseconds since 1970.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa

from fs_core.definitions import Aggregation, FeatureView
from fs_core.testing.oracle import bits

Row = Mapping[str, Any]
Conditions = Mapping[str, Callable[[Row], bool]]
"""What each `where` of a view means, as a Python function of an event."""

TOO_LARGE = "too large"
"""In place of a whole number or a decimal that doesn't fit its type: asking for it is an error."""

_EVENT_TIME, _AVAILABLE_AT, _SEQ, _TIME, _STATUS = "__event_time", "__available_at", "__seq", "__time", "__status"


def oracle_windows(
    view: FeatureView, history: Sequence[Row], spine: Iterable[Row], conditions: Conditions | None = None
) -> list[dict[str, Any]]:
    """Return what `OfflineStore.as_of` must return of a view with aggregations, one dict for each spine row.

    Args:
        view: whose keys and aggregations apply.
        history: events with the keys, `__event_time`, `__available_at` (effective), `__seq` and fields.
        spine: rows with the keys and `__time`.
        conditions: the meaning of each `where`.
    """
    return [_answer(view, history, asked, conditions or {}) for asked in spine]


def _answer(view: FeatureView, history: Sequence[Row], asked: Row, conditions: Conditions) -> dict[str, Any]:
    entity = tuple(asked[key] for key in view.keys)
    if asked[_TIME] is None or None in entity:
        return {**dict.fromkeys(view.features), _EVENT_TIME: None, _STATUS: "missing"}
    t = _micros(asked[_TIME])
    mine = [row for row in history if tuple(row[key] for key in view.keys) == entity]
    known = sorted((row for row in mine if _micros(row[_AVAILABLE_AT]) <= t), key=_order)
    found: dict[str, Any] = {}
    for aggregation in view.aggregations:
        dtype = view.stored[aggregation.column] if aggregation.column else None
        for name, length in zip(aggregation.columns, aggregation.window_micros, strict=True):
            values = _values(view, mine, t, aggregation, length, conditions)
            found[name] = _computed(aggregation, values, dtype)
    found[_EVENT_TIME] = known[-1][_EVENT_TIME] if known else None
    return {**found, _STATUS: "present" if known else "missing"}


def _values(
    view: FeatureView, events: Sequence[Row], t: int, aggregation: Aggregation, length: int | None, means: Conditions
) -> list[Any]:
    """Return what a window holds at a moment, in the rule's order, nulls left out."""
    t -= aggregation.closed == "left"
    known = sorted((row for row in events if _micros(row[_AVAILABLE_AT]) <= t), key=_order)
    if view.event_id:
        known = list({tuple(row[name] for name in view.event_id): row for row in known}.values())
        known.sort(key=_order)
    if aggregation.where is not None:
        known = [row for row in known if means[aggregation.where](row)]
    if length is not None:
        edge = t - length
        hop = aggregation.hop_micros
        edge = edge if hop is None else edge // hop * hop
        known = [row for row in known if edge < _micros(row[_EVENT_TIME]) <= t]
    if aggregation.column is None:
        return known
    return [_plain(row[aggregation.column]) for row in known if row[aggregation.column] is not None]


def _computed(aggregation: Aggregation, values: list[Any], dtype: pa.DataType | None) -> Any:
    function = aggregation.function
    if function == "count":
        return len(values)
    if function == "count_distinct":
        return len({bits(value) for value in values})
    if not values:
        return None
    if function in ("first", "last"):
        if aggregation.n is None:
            return values[0] if function == "first" else values[-1]
        return values[: aggregation.n] if function == "first" else values[-aggregation.n :]
    if function in ("min", "max"):
        return _extreme(function, values)
    if function == "sum":
        return _sum(values, dtype)
    return _mean(values) if function == "mean" else _spread(values, root=function == "std")


def _extreme(function: str, values: list[Any]) -> Any:
    if any(value != value for value in values):
        return math.nan
    least = min if function == "min" else max
    return least(values, key=lambda value: value.astimezone(UTC) if _is_aware(value) else value)


def _sum(values: list[Any], dtype: pa.DataType | None) -> Any:
    if isinstance(values[0], float):
        return _float_sum(values)
    total = sum(map(Fraction, values))
    if isinstance(values[0], Decimal):
        assert dtype is not None
        digits = total * 10**dtype.scale
        assert digits.denominator == 1
        return _decimal(digits.numerator, dtype.scale) if abs(digits) < 10**38 else TOO_LARGE
    low, high = (0, 2**64 - 1) if pa.types.is_uint64(dtype) else (-(2**63), 2**63 - 1)
    return int(total) if low <= total <= high else TOO_LARGE


def _float_sum(values: list[float]) -> float:
    rest = [value for value in values if not math.isfinite(value)]
    if rest:
        return math.nan if len(set(map(str, rest))) > 1 else rest[0]
    exact = nearest(sum(map(Fraction, values)))
    try:
        assert math.fsum(values) == exact
    except OverflowError:  # of a part of the sum; the whole may be small again
        pass
    return exact


def _mean(values: list[Any]) -> float:
    total = _float_sum(values) if isinstance(values[0], float) else nearest(sum(map(Fraction, values)))
    return total / len(values) + 0.0  # the least negative number divided is -0.0, which is 0.0


def _spread(values: list[Any], *, root: bool) -> float | None:
    """Return the sample variance, or its root, rounded once."""
    count = len(values)
    if count < 2:
        return None
    if isinstance(values[0], float) and not all(map(math.isfinite, values)):
        return math.nan
    numbers = list(map(Fraction, values))
    total = sum(numbers, Fraction())
    variance = (sum((x * x for x in numbers), Fraction()) - total * total / count) / (count - 1)
    return nearest_root(variance) if root else nearest(variance)


def nearest(value: Fraction | int) -> float:
    """Return the nearest float, of two equally near the even one; beyond the largest, infinity."""
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def nearest_root(value: Fraction) -> float:
    """Return the float nearest to the square root."""
    bits = max(0, 128 - value.numerator.bit_length() + value.denominator.bit_length()) // 2 + 1
    square = value * 4**bits
    root = math.isqrt(square.numerator // square.denominator)
    # A bit behind the last that is known says whether there is more: enough to round by, however far.
    return nearest(Fraction(2 * root + (root * root != square), 2 ** (bits + 1)))


def _plain(value: Any) -> Any:
    """Return a float without the sign of a zero or of a NaN; a boolean stays one, though it adds up as a number."""
    if isinstance(value, float):
        return math.nan if value != value else value + 0.0
    return value


def _decimal(digits: int, scale: int) -> Decimal:
    return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -scale))


def _is_aware(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def _order(row: Row) -> tuple[int, int, int]:
    return _micros(row[_EVENT_TIME]), _micros(row[_AVAILABLE_AT]), row[_SEQ]


def _micros(moment: datetime | int) -> int:
    return int(pa.scalar(moment, pa.timestamp("us", "UTC")).value) if isinstance(moment, datetime) else moment
