"""The profile of a view or a training set: a summary of each day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property, reduce
from typing import Any

import pyarrow as pa

from fs_core.errors import DataError
from fs_core.monitoring.profiles.column import ColumnSummary
from fs_core.values.times import from_micros


@dataclass(frozen=True)
class Span:
    """From when to when.

    Attributes:
        first: the earliest moment, microseconds since 1970-01-01 UTC.
        last: the latest.
    """

    first: int
    last: int

    def __or__(self, other: Span) -> Span:
        """Return what covers both."""
        return Span(min(self.first, other.first), max(self.last, other.last))


@dataclass(frozen=True)
class Summary:
    """What rows are like.

    Attributes:
        rows: how many there are.
        columns: by name, in order.
        events: from when to when their event times go; of a training set, the times of its rows.
        available: from when to when they became available; None of a training set.
        delay: how long after their event times they became available, microseconds; None of a training set.
    """

    rows: int
    columns: Mapping[str, ColumnSummary]
    events: Span
    available: Span | None = None
    delay: ColumnSummary | None = None

    def __add__(self, other: Summary) -> Summary:
        """Return the summary of both."""
        return Summary(
            self.rows + other.rows,
            {name: summary + other.columns[name] for name, summary in self.columns.items()},
            self.events | other.events,
            self.available | other.available if self.available and other.available else None,
            self.delay + other.delay if self.delay and other.delay else None,
        )


@dataclass(frozen=True)
class Profile:
    """What a view's rows, or a training set's, are like day by day.

    Profiles of parts add up (`+`) to that of the whole, bit for bit, however the rows were parted.

    Attributes:
        subject: the view, as `name:v1.2.3`, or `"training set"`.
        columns: the columns that are described, and their types as text.
        days: by day in UTC, in order: that on which a row became available; of a training set, that of its time.
    """

    subject: str
    columns: Mapping[str, str]
    days: Mapping[date, Summary]

    def __add__(self, other: Profile) -> Profile:
        """Return the profile of both.

        Raises:
            DataError: it is of something else, or of other columns.
        """
        if (self.subject, dict(self.columns)) != (other.subject, dict(other.columns)):
            raise DataError(
                f"the profiles of {self.subject} ({', '.join(self.columns)}) and of {other.subject} "
                f"({', '.join(other.columns)}) don't add up. Add profiles of one view version."
            )
        parts = [side.days for side in (self, other)]
        days = {day: _added(part[day] for part in parts if day in part) for day in sorted({*parts[0], *parts[1]})}
        return Profile(self.subject, self.columns, days)

    @cached_property
    def total(self) -> Summary | None:
        """All days in one; None without rows."""
        return _added(self.days.values()) if self.days else None

    @property
    def table(self) -> pa.Table:
        """A row for each day and column: counts, extremes as text, mean, standard deviation, distinct values."""
        rows = [
            {"day": day, "column": name, **_numbers(column)}
            for day, summary in self.days.items()
            for name, column in summary.columns.items()
        ]
        return pa.Table.from_pylist(rows, schema=_SCHEMA)

    def __str__(self) -> str:
        if self.total is None:
            return f"{self.subject}: no rows"
        events = " to ".join(f"{from_micros(moment):%Y-%m-%d %H:%M}" for moment in vars(self.total.events).values())
        lines = [f"{self.subject}: {self.total.rows:,} rows on {len(self.days):,} days, events from {events} UTC"]
        mean = None if self.total.delay is None else self.total.delay.mean
        if self.total.delay is not None and mean is not None:
            greatest = self.total.delay.greatest
            lines.append(f"  available after {_seconds(mean)} on average, {_seconds(greatest)} at most")
        lines += [f"  {name}: {_line(column)}" for name, column in self.total.columns.items()]
        return "\n".join(lines)


_SCHEMA = pa.schema(
    [
        *(("day", pa.date32()), ("column", pa.string()), ("rows", pa.int64()), ("nulls", pa.int64())),
        *(("nans", pa.int64()), ("infinite", pa.int64()), ("least", pa.string()), ("greatest", pa.string())),
        *(("mean", pa.float64()), ("std", pa.float64()), ("distinct", pa.int64())),
    ]
)


def _added(summaries: Iterable[Summary]) -> Summary:
    return reduce(Summary.__add__, summaries)


def _numbers(column: ColumnSummary) -> dict[str, Any]:
    counts = {name: getattr(column, name) for name in ("rows", "nulls", "nans", "infinite", "mean", "std")}
    extremes = {
        name: None if getattr(column, name) is None else str(getattr(column, name)) for name in ("least", "greatest")
    }
    return {**counts, **extremes, "distinct": None if column.distinct is None else column.distinct.estimate}


def _line(column: ColumnSummary) -> str:
    numbers = _numbers(column)
    shown = [f"{numbers['distinct']:,} distinct"] if numbers["distinct"] is not None else []
    shown += [f"{column.nulls:,} nulls"] + ([f"{column.nans:,} NaN"] if column.nans else [])
    if column.least is not None:
        shown.append(f"from {column.least} to {column.greatest}")
    if column.mean is not None:
        shown.append(f"mean {column.mean:.6g}" + ("" if column.std is None else f", std {column.std:.6g}"))
    return ", ".join(shown)


def _seconds(micros: float) -> str:
    return f"{micros / 10**6:,.1f} s"
