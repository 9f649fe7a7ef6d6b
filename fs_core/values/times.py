"""Time as the store knows it: UTC microseconds, durations, and a clock that never repeats itself."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, TypeVar

import pyarrow as pa

from fs_core.errors import DataError, DefinitionError, SchemaError
from fs_core.runtime.per_process import PerProcess

MICROSECONDS = pa.timestamp("us", tz="UTC")
"""The Arrow type of every event time, availability time and label time inside the store."""

EARLIEST = -62_135_596_800_000_000  # 0001-01-01T00:00:00Z, what Python's datetime can still show
LATEST = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z

_UNITS = {"us": 1, "ms": 10**3, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
_UNITS["w"] = 7 * _UNITS["d"]
_PART = re.compile(r"([0-9]+)(us|ms|s|m|h|d|w)")
_ISO = (  # splits a text; what each part may hold, Arrow's own parser says
    r"^(?P<whole>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}(?::[0-9]{2}(?::[0-9]{2})?)?)?)"
    r"(?:[.,](?P<fraction>[0-9]{1,6})(?P<rest>[0-9]*))?(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?(?P<utc> UTC)?$"
)
_ISO_PARTS = "whole", "fraction", "rest", "zone", "utc"
_Counts = TypeVar("_Counts", pa.Array, pa.ChunkedArray)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

Rounding = Literal["up", "down"]
Moment = datetime | date | str
"""A moment as callers give it: aware, or naive and then UTC, or ISO 8601 text."""


def parse_duration(value: timedelta | str, what: str = "duration") -> timedelta:
    """Return `value` as a non-negative `timedelta`.

    Text is one or more counts with a unit, largest first by custom: `"30d"`, `"15m"`, `"1d12h"`,
    `"0s"`. Units: `w d h m s ms us`.

    Raises:
        DefinitionError: the text is no duration, or the duration is negative.
    """
    if isinstance(value, timedelta):
        if value < timedelta(0):
            raise DefinitionError(f"{what} is negative: {value!r}. Durations count forward.")
        return value
    text = value.strip() if isinstance(value, str) else ""
    parts = _PART.findall(text)
    whole = "".join(n + unit for n, unit in parts)
    if not parts or whole != text:
        negative = " It is negative; durations count forward." if parts and text == f"-{whole}" else ""
        raise DefinitionError(
            f"{what} {value!r} is not a duration. Write a timedelta or text such as '30d', '1d12h', '15m', '50ms'."
            f"{negative}"
        )
    try:
        return timedelta(microseconds=sum(int(n) * _UNITS[unit] for n, unit in parts))
    except (OverflowError, ValueError):  # Python refuses to read numbers of thousands of digits
        raise DefinitionError(f"{what} {value!r} is longer than any history can be.") from None


def duration_micros(value: timedelta) -> int:
    """Return a duration in whole microseconds, exactly."""
    return value // timedelta(microseconds=1)


def format_duration(value: timedelta) -> str:
    """Return the shortest text that `parse_duration` reads back: `timedelta(days=30)` is `"30d"`."""
    rest = duration_micros(value)
    text = ""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, rest = divmod(rest, _UNITS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def micros(moment: datetime | date | str | int) -> int:
    """Return a moment as microseconds since 1970-01-01 UTC; naive moments are UTC.

    Text is ISO 8601; an integer already is microseconds.

    Raises:
        DataError: the text is no ISO 8601 time, the type is none of these, or the moment lies outside
            the years 1 to 9999.
    """
    if isinstance(moment, bool) or not isinstance(moment, datetime | date | str | int) or moment != moment:
        raise DataError(f"{moment!r} is no moment. Pass a datetime or ISO 8601 text.")  # pandas' NaT is a datetime
    found = moment if isinstance(moment, int) else _micros(moment)
    if not EARLIEST <= found <= LATEST:
        raise DataError(f"{moment!r} lies outside the years 1 to 9999 of UTC.")
    return found


def moment_or_ago(since: datetime | date | timedelta | str, now: int) -> int:
    """Return a moment as microseconds; a duration, such as `"1d"`, counts back from now.

    Args:
        since: the moment or duration.
        now: microseconds since 1970-01-01 UTC.

    Raises:
        DataError: it is neither, or lies outside the years 1 to 9999.
    """
    if isinstance(since, timedelta | str):
        try:
            return max(now - duration_micros(parse_duration(since, "since")), EARLIEST)
        except DefinitionError:
            if isinstance(since, timedelta):
                raise
    try:
        return micros(since)
    except DataError as error:
        raise DataError(f"since={since!r} is neither a moment in ISO 8601 nor a duration such as '7d'.") from error


def _micros(moment: datetime | date | str) -> int:
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise DataError(f"{moment!r} is no ISO 8601 time, such as '2024-01-15T10:30:00Z'.") from None
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def from_micros(value: int) -> datetime:
    """Return microseconds since 1970-01-01 UTC as an aware `datetime`."""
    return _EPOCH + timedelta(microseconds=value)


def to_utc_micros(column: pa.ChunkedArray | pa.Array, name: str, rounding: Rounding) -> pa.ChunkedArray:
    """Return a time column as `timestamp[us, UTC]`, rounding finer input so that nothing leaks.

    Feature times round up (known no earlier than they were), label times round down (no wiser than
    they were). Nulls stay null, a column without any value too. A naive time is UTC; a date is its midnight.

    Args:
        column: times or dates.
        name: how errors call it.
        rounding: `up` for facts, `down` for labels.

    Raises:
        SchemaError: the column's type is no time.
        DataError: a time lies outside the years 1 to 9999.
    """
    import pyarrow.compute as pc

    column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(MICROSECONDS)
    if pa.types.is_date(kind):
        column, kind = column.cast(pa.timestamp("s")), pa.timestamp("s")
    if not pa.types.is_timestamp(kind):
        raise SchemaError(
            f"column {name!r} is {kind}, not a timestamp or date. "
            "Parse it first, for example with pandas.to_datetime or a CAST in SQL."
        )
    counts = column.cast(pa.timestamp(kind.unit)).cast(pa.int64())
    _refuse_out_of_range(counts, name, _PER_SECOND[kind.unit])
    if kind.unit == "ns":
        counts = _divide(counts, 1000, rounding)
    elif kind.unit != "us":
        counts = pc.multiply(counts, 10**6 // _PER_SECOND[kind.unit])
    return counts.cast(MICROSECONDS)


def within(times: pa.ChunkedArray, start: int | None, end: int | None) -> pa.ChunkedArray:
    """Return which of some times are `start` or later and before `end`; a null is, so that it is refused, not lost.

    Args:
        times: as `to_utc_micros` returns them.
        start: microseconds; None for no bound.
        end: microseconds; None for no bound.
    """
    import pyarrow.compute as pc

    counts = times.cast(pa.int64())
    is_early = pc.less(counts, EARLIEST if start is None else start)
    is_late = pc.greater(counts, LATEST) if end is None else pc.greater_equal(counts, end)
    return pc.fill_null(pc.invert(pc.or_(is_early, is_late)), True)


def from_iso(texts: pa.Array, rounding: Rounding | None) -> pa.Array:
    """Return ISO 8601 texts as `timestamp[us, UTC]`: a date, or date and time with `T` or a space, fraction and offset.

    In place of an offset there may be ` UTC`, as some databases write it.

    Args:
        texts: strings; without an offset they are UTC, and a date is its midnight. Nulls stay null.
        rounding: where moments between two microseconds go, as in `to_utc_micros`; None refuses them.

    Raises:
        pyarrow.ArrowInvalid: a text is no such time, or would have to be rounded.
    """
    first = texts.drop_null().slice(0, 1)
    for kind in (MICROSECONDS, pa.timestamp("us")):  # most columns have offsets throughout or none, and few digits
        try:
            first.cast(kind)  # a long column takes Arrow long to refuse
            return texts.cast(kind).cast(pa.int64()).cast(MICROSECONDS)
        except pa.ArrowInvalid:
            continue
    return _from_varied_iso(texts, rounding)


def _from_varied_iso(texts: pa.Array, rounding: Rounding | None) -> pa.Array:
    import pyarrow.compute as pc

    parts = pc.extract_regex(texts, _ISO)
    if parts.null_count > texts.null_count:
        raise pa.ArrowInvalid("a text is no ISO 8601 time")
    whole, fraction, rest, zone, utc = (pc.struct_field(parts, name) for name in _ISO_PARTS)
    if pc.any(pc.and_(pc.not_equal(zone, ""), pc.not_equal(utc, ""))).as_py():
        raise pa.ArrowInvalid("a text has two zones")
    point = pc.if_else(pc.equal(fraction, ""), "", ".")
    rounded = pc.binary_join_element_wise(whole, point, fraction, zone, "")
    naive = pc.equal(zone, "")
    zoned_counts = pc.if_else(naive, None, rounded).cast(MICROSECONDS).cast(pa.int64())
    naive_counts = pc.if_else(naive, rounded, None).cast(pa.timestamp("us")).cast(pa.int64())
    between = pc.match_substring_regex(rest, "[1-9]")
    if rounding is None:
        if pc.any(between).as_py():
            raise pa.ArrowInvalid("a time is finer than a microsecond")
        rounding = "down"
    # In tenths of a microsecond, of which the first stands for all that the dropped digits may say.
    tenths = pc.add(pc.multiply(pc.coalesce(zoned_counts, naive_counts), 10), between.cast(pa.int64()))
    return _divide(tenths, 10, rounding).cast(MICROSECONDS)


def _refuse_out_of_range(counts: pa.ChunkedArray, name: str, per_second: int) -> None:
    import pyarrow.compute as pc

    bounds: dict[str, Any] = pc.min_max(counts).as_py()
    if bounds["min"] is None:
        return
    low, high = EARLIEST * per_second // 10**6, LATEST * per_second // 10**6
    if bounds["min"] < low or bounds["max"] > high:
        raise DataError(f"column {name!r} holds a time outside the years 1 to 9999.")


def _divide(counts: _Counts, by: int, rounding: Rounding) -> _Counts:
    """Divide towards minus infinity ("down") or plus infinity ("up"); Arrow's own division truncates."""
    import pyarrow.compute as pc

    quotient = pc.divide(counts, by)
    remainder = pc.subtract(counts, pc.multiply(quotient, by))
    if rounding == "up":
        return pc.add(quotient, pc.cast(pc.greater(remainder, 0), pa.int64()))
    return pc.subtract(quotient, pc.cast(pc.less(remainder, 0), pa.int64()))


class Clock:
    """UTC microseconds that strictly increase, so that no two events of a process share a moment.

    A push and a read in the same microsecond would leave it open which came first; the parity of
    online and offline reads needs that answered. Thread-safe.
    """

    def __init__(self) -> None:
        self._last = 0
        self._lock = PerProcess(threading.Lock)  # a process may be forked while another thread holds it

    def now(self) -> int:
        """Return the current moment in microseconds since 1970-01-01 UTC, later than any before."""
        with self._lock.get():
            self._last = max(self._last + 1, time.time_ns() // 1000)
            return self._last
