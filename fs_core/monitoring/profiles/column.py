"""What the values of one column are like, exactly: summaries of parts add up to that of the whole, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.monitoring.profiles.distinct import Distinct
from fs_core.monitoring.profiles.histogram import Histogram, added, buckets, counted
from fs_core.values.dtypes import plain_type
from fs_core.windows.numbers.exact import ORIGIN, WIDTH, Addends, addends_of

_DAY = 86_400 * 10**6
_T = TypeVar("_T")


@dataclass(frozen=True)
class ColumnSummary:
    """A column's values in numbers.

    Attributes:
        rows: how many rows there are.
        nulls: rows without a value.
        nans: values that are NaN; the rest leaves them out.
        infinite: values that are an infinity; sums leave them out.
        least: the least value; None without values, and of lists.
        greatest: the greatest value.
        total: the exact sum of numbers; None for what isn't a number.
        squares: the exact sum of their squares.
        histogram: how many values lie in each bucket of `fs_core.monitoring.profiles.histogram`; of numbers and times.
        distinct: the different values; None of lists.
    """

    rows: int
    nulls: int
    nans: int = 0
    infinite: int = 0
    least: Any = None
    greatest: Any = None
    total: Fraction | None = None
    squares: Fraction | None = None
    histogram: Histogram | None = None
    distinct: Distinct | None = None

    def __add__(self, other: ColumnSummary) -> ColumnSummary:
        """Return the summary of both columns, one behind the other."""
        return ColumnSummary(
            rows=self.rows + other.rows,
            nulls=self.nulls + other.nulls,
            nans=self.nans + other.nans,
            infinite=self.infinite + other.infinite,
            least=_joined(self.least, other.least, min),
            greatest=_joined(self.greatest, other.greatest, max),
            total=_joined(self.total, other.total, lambda a, b: a + b),
            squares=_joined(self.squares, other.squares, lambda a, b: a + b),
            histogram=_joined(self.histogram, other.histogram, added),
            distinct=_joined(self.distinct, other.distinct, lambda a, b: a + b),
        )

    @property
    def null_rate(self) -> float | None:
        """The share of rows without a value; None without rows."""
        return self.nulls / self.rows if self.rows else None

    @property
    def mean(self) -> float | None:
        """The mean of the finite numbers, rounded once; None without any."""
        count = self._finite
        return None if self.total is None or not count else _float(self.total / count)

    @property
    def std(self) -> float | None:
        """The sample standard deviation of the finite numbers; None for fewer than two."""
        count = self._finite
        if self.total is None or self.squares is None or count < 2:
            return None
        return math.sqrt(_float((self.squares - self.total**2 / count) / (count - 1)))

    def top(self, most: int = 10) -> dict[Any, int] | None:
        """Return the values that come most often and their counts; None where there are too many to count each."""
        return None if self.distinct is None else self.distinct.top(most)

    @property
    def _finite(self) -> int:
        return self.rows - self.nulls - self.nans - self.infinite


def summarize(column: pa.ChunkedArray | pa.Array) -> ColumnSummary:
    """Return what the values of a column of any supported type are like."""
    values = _values(column)
    rows, nulls = len(column), column.null_count
    if pa.types.is_nested(values.type):
        return ColumnSummary(rows, nulls)
    nans = infinite = 0
    histogram: Histogram | None = None
    summed = values
    if pa.types.is_floating(values.type):
        values = _floats(values)
        nans, infinite = rows - nulls - len(values), pc.sum(pc.is_inf(values)).as_py() or 0
        summed = values.filter(pc.is_finite(values))
    if pa.types.is_temporal(values.type):
        histogram = counted(_micros(values) // _DAY)
        return _described(ColumnSummary(rows, nulls, histogram=histogram), values)
    if not _is_number(values.type):
        return _described(ColumnSummary(rows, nulls), values)
    numbers = addends_of(summed)
    histogram = counted(buckets(np.asarray(pc.cast(_whole(values), pa.float64(), safe=False), np.float64)))
    scale = values.type.scale if pa.types.is_decimal(values.type) else 0
    found = ColumnSummary(
        rows,
        nulls,
        nans,
        infinite,
        total=_sum(numbers, ORIGIN) / 10**scale,
        squares=_sum(numbers.squares(), 2 * ORIGIN) / 10 ** (2 * scale),
        histogram=histogram,
    )
    return _described(found, values)


def _described(found: ColumnSummary, values: pa.Array) -> ColumnSummary:
    """Return a summary with its extremes and its different values."""
    extremes = pc.min_max(values).as_py()
    plain = pa.array(_micros(values)) if pa.types.is_temporal(values.type) else values
    return ColumnSummary(
        **{**vars(found), "least": extremes["min"], "greatest": extremes["max"], "distinct": Distinct.of(plain)}
    )


def _values(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    whole = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    plain = plain_type(whole.type)
    return (whole if plain == whole.type else whole.cast(plain)).combine_chunks().drop_null()


def _floats(values: pa.Array) -> pa.Array:
    """Return floats as float64, without NaN, -0.0 as 0.0."""
    numbers = np.asarray(values.cast(pa.float64()), np.float64) + 0.0
    return pa.array(numbers[~np.isnan(numbers)])


def _micros(values: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    zone = getattr(values.type, "tz", None)
    return np.asarray(values.cast(pa.timestamp("us", zone)).cast(pa.int64()), np.int64)


def _whole(values: pa.Array) -> pa.Array:
    return values.cast(pa.int8()) if pa.types.is_boolean(values.type) else values


def _is_number(dtype: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(kind(dtype) for kind in kinds)


def _sum(numbers: Addends, origin: int) -> Fraction:
    whole = sum(int(limb.sum()) << (WIDTH * number) for number, limb in numbers.limbs())
    return Fraction(whole, 1 << origin)


def _joined(one: _T | None, other: _T | None, join: Callable[[_T, _T], _T]) -> _T | None:
    if one is None or other is None:
        return other if one is None else one
    return join(one, other)


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
