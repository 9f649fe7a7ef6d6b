"""Durations, moments, rounding so that nothing leaks, and the clock."""

from __future__ import annotations

import math
import threading
import time
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fs_core.errors import DataError, DefinitionError, SchemaError
from fs_core.values import times
from fs_core.values.times import EARLIEST, LATEST, MICROSECONDS, Clock, Rounding

UNITS = {"us": 1, "ms": 10**3, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6, "w": 604800 * 10**6}
UNITS_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
ZONES = (None, "UTC", "Europe/Berlin", "America/St_Johns", "+05:30")

roundings: st.SearchStrategy[Rounding] = st.sampled_from(["up", "down"])
micros = st.integers(EARLIEST, LATEST)
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.timedeltas(timedelta(0)))
@example(timedelta.max)
@example(timedelta(0))
def test_a_duration_survives_text(duration: timedelta) -> None:
    """What `format_duration` writes, `parse_duration` reads back exactly, up to the longest duration there is."""
    assert times.parse_duration(times.format_duration(duration)) == duration
    assert times.parse_duration(duration) == duration
    assert times.duration_micros(duration) * timedelta(microseconds=1) == duration


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(UNITS))), min_size=1, max_size=4))
def test_text_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    """A duration is counts with units, in any order, and means their sum."""
    text = "".join(f"{count}{unit}" for count, unit in parts)
    total = sum(count * UNITS[unit] for count, unit in parts)
    assert times.parse_duration(f" {text} ") == timedelta(microseconds=total)


@given(st.timedeltas(timedelta(0)), st.timedeltas(timedelta(0)))
def test_durations_have_one_text_each(one: timedelta, other: timedelta) -> None:
    """Two durations have the same text exactly when they are the same: digests depend on it."""
    assert (times.format_duration(one) == times.format_duration(other)) == (one == other)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "30", "d", "30x", "-1d", "+1d", "1.5h", "1d 12h", "30D", "1 d", "٣d", "30d,", "1e3s", "P30D", "inf"),
        *(None, 5, 0.5, True, b"30d"),
    ],
)
def test_durations_that_are_none(value: Any) -> None:
    """What is no duration is refused with its field and the way to write one."""
    with pytest.raises(DefinitionError, match=r"ttl .* is not a duration\. Write a timedelta or text such as '30d'"):
        times.parse_duration(value, "ttl")


@pytest.mark.parametrize("value", ["1000000000d", "9" * 400 + "us", "9" * 5000 + "d"])
def test_durations_longer_than_any_history(value: str) -> None:
    """A duration that no timedelta holds is refused, however many digits it has."""
    with pytest.raises(DefinitionError, match="is longer than any history can be"):
        times.parse_duration(value)


@given(st.timedeltas(max_value=-timedelta(microseconds=1)))
def test_durations_count_forward(duration: timedelta) -> None:
    """A negative duration is refused."""
    with pytest.raises(DefinitionError, match=r"lag is negative: .*\. Durations count forward"):
        times.parse_duration(duration, "lag")


@given(micros)
@example(EARLIEST)
@example(LATEST)
@example(-1)
def test_a_moment_survives_datetime_and_text(moment: int) -> None:
    """Microseconds, an aware datetime, a naive one in UTC and ISO 8601 text all name the same moment."""
    shown = times.from_micros(moment)
    assert shown.tzinfo is UTC
    same = [moment, shown, shown.replace(tzinfo=None), shown.isoformat(), shown.replace(tzinfo=None).isoformat()]
    assert {times.micros(form) for form in same} == {moment}
    assert pa.scalar(moment, MICROSECONDS).as_py() == shown


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), offsets)
def test_a_zone_is_taken_into_account(moment: datetime, zone: tzinfo) -> None:
    """A moment in another zone is moved to UTC, as an object and as text."""
    aware = moment.replace(tzinfo=zone)
    expected = times.micros(moment) - times.duration_micros(aware.utcoffset() or timedelta(0))
    assert times.micros(aware) == times.micros(aware.isoformat()) == expected


@given(st.dates())
def test_a_date_is_its_midnight(day: date) -> None:
    """A date means its first microsecond in UTC."""
    assert times.micros(day) == times.micros(day.isoformat()) == times.micros(datetime(day.year, day.month, day.day))


def test_a_pandas_moment_is_rounded_down() -> None:
    """A timestamp of pandas is a datetime with nanoseconds; as a moment to look from it is rounded down."""
    assert times.micros(pd.Timestamp("1970-01-01T00:00:00.000001999")) == 1
    assert times.micros(pd.Timestamp("1969-12-31T23:59:59.999999001", tz="UTC")) == -1


@pytest.mark.parametrize("moment", [None, True, 1.5, b"2024-01-01", [], "", "now", "2024-13-01", "01/02/2024", pd.NaT])
def test_moments_that_are_none(moment: Any) -> None:
    """What is no moment is refused by name, pandas' missing one included."""
    with pytest.raises(DataError, match=r"is no (moment\. Pass a datetime or ISO 8601 text|ISO 8601 time, such as)"):
        times.micros(moment)


@pytest.mark.parametrize(
    "moment", [EARLIEST - 1, LATEST + 1, 10**30, "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"]
)
def test_moments_outside_the_calendar(moment: int | str) -> None:
    """A moment that Python could not show again is refused."""
    with pytest.raises(DataError, match="outside the years 1 to 9999"):
        times.micros(moment)


@given(st.data(), st.sampled_from(sorted(UNITS_A_SECOND)), st.sampled_from(ZONES), roundings)
def test_rounding_is_python_arithmetic(data: st.DataObject, unit: str, zone: str | None, rounding: Rounding) -> None:
    """Each time becomes the first microsecond not before it (up) or the last not after it (down), also before 1970."""
    a_second = UNITS_A_SECOND[unit]
    low, high = max(-(2**63), EARLIEST * a_second // 10**6), min(2**63 - 1, LATEST * a_second // 10**6)
    counts = data.draw(st.lists(st.none() | st.integers(low, high) | st.integers(-3000, 3000), max_size=6))
    column = pa.array(counts, pa.int64()).cast(pa.timestamp(unit, tz=zone))
    found = times.to_utc_micros(column, "at", rounding)
    assert found.type == MICROSECONDS
    exact = [None if c is None else (c * 10**6, a_second) for c in counts]
    sign = -1 if rounding == "up" else 1
    expected = [None if e is None else sign * (sign * e[0] // e[1]) for e in exact]
    assert found.cast(pa.int64()).to_pylist() == expected


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5))
def test_up_and_down_differ_by_less_than_a_microsecond(nanos: list[int]) -> None:
    """The time lies between its two roundings, which are one apart, or none where it is whole."""
    column = pa.array(nanos, pa.timestamp("ns"))
    up, down = (times.to_utc_micros(column, "at", r).cast(pa.int64()).to_pylist() for r in ("up", "down"))  # type: ignore[arg-type]
    for exact, high, low in zip(nanos, up, down, strict=True):
        assert low * 1000 <= exact <= high * 1000
        assert high - low == (exact % 1000 != 0)


@given(st.lists(st.none() | st.dates(), max_size=4), st.sampled_from([pa.date32(), pa.date64()]), roundings)
def test_a_column_of_dates_is_their_midnights(days: list[date | None], kind: pa.DataType, rounding: Rounding) -> None:
    """Dates of either width become their midnights in UTC; nulls stay."""
    found = times.to_utc_micros(pa.array(days, kind), "day", rounding)
    assert found.cast(pa.int64()).to_pylist() == [None if day is None else times.micros(day) for day in days]


def test_chunks_are_kept_together() -> None:
    """A column in chunks, empty ones and slices included, is read as one."""
    whole = pa.array([1500, None, -1500, 2000], pa.timestamp("ns"))
    column = pa.chunked_array([whole.slice(1, 2), whole.slice(0, 0), whole.slice(3)])
    assert times.to_utc_micros(column, "at", "up").cast(pa.int64()).to_pylist() == [None, -1, 2]
    assert times.to_utc_micros(pa.chunked_array([], pa.timestamp("ns")), "at", "up").to_pylist() == []


@pytest.mark.parametrize("zone", [zone for zone in ZONES if zone and "/" in zone])
def test_a_zoned_column_keeps_its_moments(zone: str) -> None:
    """A column in a zone with daylight saving holds moments already: nothing is shifted."""
    moments = [
        datetime(2024, 3, 31, 1, 30, tzinfo=ZoneInfo(zone)),
        datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo(zone)),
    ]
    found = times.to_utc_micros(pa.array(moments, pa.timestamp("s", tz=zone)), "at", "down")
    assert found.to_pylist() == [moment.astimezone(UTC) for moment in moments]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
@pytest.mark.parametrize("rounding", ["up", "down"])
def test_times_outside_the_calendar(unit: str, rounding: Rounding) -> None:
    """The first and the last moment of the calendar are taken; one step beyond is refused with the column's name."""
    a_second = UNITS_A_SECOND[unit]
    low, high = EARLIEST * a_second // 10**6, LATEST * a_second // 10**6
    kept = times.to_utc_micros(pa.array([low, high], pa.timestamp(unit)), "at", rounding)
    assert kept.cast(pa.int64()).to_pylist() == [low * 10**6 // a_second, high * 10**6 // a_second]
    for beyond in (low - 1, high + 1, -(2**63), 2**63 - 1):
        with pytest.raises(DataError, match="column 'at' holds a time outside the years 1 to 9999"):
            times.to_utc_micros(pa.array([0, beyond], pa.timestamp(unit)), "at", rounding)


@pytest.mark.parametrize("values", [["2024-01-01"], [1], [1.5], [True], [timedelta(1)]])
def test_columns_that_are_no_times(values: list[Any]) -> None:
    """A column of another type is refused with its name, its type and how to parse it."""
    with pytest.raises(SchemaError, match=r"column 'at' is \w+.*, not a timestamp or date\. Parse it first"):
        times.to_utc_micros(pa.array(values), "at", "up")


def test_no_two_threads_share_a_moment() -> None:
    """The clock strictly increases over threads, within each and all together."""
    clock, found = Clock(), [[] for _ in range(8)]  # type: tuple[Clock, list[list[int]]]
    threads = [
        threading.Thread(target=lambda mine=mine: mine.extend(clock.now() for _ in range(3000))) for mine in found
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == sorted(mine) for mine in found)
    assert len({moment for mine in found for moment in mine}) == 8 * 3000


def test_the_clock_goes_on_where_time_stands_or_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine's clock stands still or is set back, moments still increase, by one."""
    shown = iter([5_000_000, 5_000_000, 1_000, 9_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(shown))
    clock = Clock()
    assert [clock.now() for _ in range(4)] == [5000, 5001, 5002, 9000]


def test_the_clock_shows_the_present() -> None:
    """The clock's moments are microseconds since 1970, now."""
    before, now, after = time.time_ns() // 1000, Clock().now(), time.time_ns() // 1000
    assert before <= now <= after


ISO = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]


@given(
    moment=st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
    form=st.sampled_from(ISO),
    digits=st.text("0123456789", max_size=12),
    point=st.sampled_from(".,"),
    offset=st.none() | st.integers(-1439, 1439),
    others=st.lists(st.sampled_from(["2026-01-01", "2026-01-01T00Z", "2026-01-01 00:00:00.00000001+01:00", None])),
)
def test_iso_texts_are_rounded_by_the_same_rule(
    moment: datetime, form: str, digits: str, point: str, offset: int | None, others: list[str | None]
) -> None:
    """Up is the first microsecond not before the text's moment, down the last not after it; an offset is subtracted."""
    sign, minutes = "-" if (offset or 0) < 0 else "+", abs(offset or 0)
    zone = "" if offset is None else f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    text = moment.strftime(form).rjust(19, "0") + (point + digits if digits else "") + zone
    whole = (moment.replace(microsecond=0) - datetime(1970, 1, 1)) // timedelta(seconds=1) - 60 * (offset or 0)
    exact = whole * 10**6 + Fraction(int(digits or 0) * 10**6, 10 ** len(digits))
    for column in ([text], [*others, text]):
        up = times.from_iso(pa.array(column), "up").cast(pa.int64())[-1].as_py()
        down = times.from_iso(pa.array(column), "down").cast(pa.int64())[-1].as_py()
        assert (down, up) == (math.floor(exact), math.ceil(exact))
        if up != down:
            with pytest.raises(pa.ArrowInvalid):
                times.from_iso(pa.array(column), None)


@pytest.mark.parametrize(
    "text",
    [
        "03/04/2026",
        "2026-4-3",
        "20260403",
        "2026-04-03Z",
        "2026-04-03T10.5",
        "2026-04-03T24:00",
        "2026-02-30",
        "2026-04-03T10:00Z UTC",
        "2026-04-03T10:00 CET",
        "",
        "now",
    ],
)
@pytest.mark.parametrize("others", [[], ["2026-01-01T00:00:00.1234567Z", None]], ids=["alone", "among others"])
def test_other_notations_are_no_iso_texts(text: str, others: list[str | None]) -> None:
    """Nothing is guessed to be a time."""
    with pytest.raises(pa.ArrowInvalid):
        times.from_iso(pa.array([*others, text]), "up")


@pytest.mark.parametrize("text", ["2026-04-03 10:30:00 UTC", "2026-04-03 10:30 UTC", "2026-04-03 10:30:00.000 UTC"])
@pytest.mark.parametrize("others", [[], ["2026-01-01T00:00:00.1234567Z", None]], ids=["alone", "among others"])
def test_utc_may_be_named(text: str, others: list[str | None]) -> None:
    """Databases export times with the name of the one zone that is no matter of opinion."""
    (*_, found) = times.from_iso(pa.array([*others, text]), "up").to_pylist()
    assert found == datetime(2026, 4, 3, 10, 30, tzinfo=UTC)
