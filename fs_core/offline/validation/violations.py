"""Which rows break what a view declares, its fields' ranges or its checks, and how errors and reasons name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView, Field

_SHOWN = 5  # offending rows an error names
_LONGEST = 100  # characters of a value that a reason shows


class Violation(NamedTuple):
    """A rule that rows break.

    Attributes:
        rule: which, as `column 'x' is above the maximum 5`.
        rows: which rows do: boolean, no nulls.
        values: what they have there; None where that says nothing.
        rest: what else there is to say.
    """

    rule: str
    rows: pa.ChunkedArray
    values: pa.ChunkedArray | None = None
    rest: str = ""

    def __str__(self) -> str:
        return f"{self.rule} in {rows_of(self.rows, self.values)}{self.rest}"

    def of(self, position: int) -> str:
        """Return what is to say of one of the rows."""
        value = "" if self.values is None else f" ({_short(self.values[position].as_py())})"
        return f"{self.rule}{value}{self.rest}"


def reasons_of(found: Sequence[Violation], positions: Iterable[int]) -> list[str]:
    """Return for some rows which of the rules they break."""
    broken: dict[int, list[str]] = {position: [] for position in positions}
    for violation in found:
        for position in positions_of(violation.rows).tolist():
            broken[position].append(violation.of(position))
    return ["; ".join(reasons) for reasons in broken.values()]


def violations(view: FeatureView, columns: Mapping[str, pa.ChunkedArray]) -> list[Violation]:
    """Return which rules of a view's fields, and which of its checks, rows break.

    Args:
        view: which.
        columns: keys, event time and fields, in their types.
    """
    of_fields = (violation for field in view.fields for violation in field_violations(field, columns[field.name]))
    return [*of_fields, *check_violations(view, columns)]


def check_violations(view: FeatureView, columns: Mapping[str, pa.ChunkedArray]) -> Iterable[Violation]:
    """Yield which checks of a view rows break.

    Args:
        view: which.
        columns: keys, event time and fields, in their types.
    """
    if view.checks:
        from fs_core.offline.expressions import broken

        for check, rows in broken(view, columns).items():
            if pc.any(rows).as_py():
                yield Violation(f"check {check!r} is false or fails", rows)


def field_violations(field: Field, column: pa.ChunkedArray) -> Iterable[Violation]:
    """Yield what is wrong with the values of a feature."""
    if not field.nullable and column.null_count:
        yield Violation(f"column {field.name!r} is null", pc.is_null(column), None, ", and not nullable")
    if field.allowed is not None:
        other = pc.and_(pc.invert(pc.is_in(column, pa.array(field.allowed, column.type))), pc.is_valid(column))
        if pc.any(other).as_py():
            yield Violation(f"column {field.name!r} is none of {_few(field.allowed)}", other, column)
    for bound, lowest in ((field.minimum, True), (field.maximum, False)):
        outside = _outside(column, bound, lowest=lowest)
        if outside is not None and pc.any(outside).as_py():
            side = "below the minimum" if lowest else "above the maximum"
            yield Violation(f"column {field.name!r} is {side} {bound}", outside, column)


def _outside(column: pa.ChunkedArray, bound: float | None, *, lowest: bool) -> pa.ChunkedArray | None:
    """Return which values break a bound, if there is one. A null never does; NaN always, being in no range.

    A float field's bound is rounded to the field's type: 0.1 is within `maximum=0.1` of a float32.
    Whole numbers and decimals are compared as decimals, which hold every value and bound.
    """
    if bound is None:
        return None
    dtype = column.type
    if pa.types.is_floating(dtype):
        with np.errstate(over="ignore"):
            limit = pa.scalar(float(dtype.to_pandas_dtype()(bound)), pa.float64())
    else:
        dtype = pa.decimal256(76, dtype.scale if pa.types.is_decimal(dtype) else 0)
        limit = pa.scalar(_decimal_bound(bound, dtype, ROUND_CEILING if lowest else ROUND_FLOOR), dtype)
    compare = pc.greater_equal if lowest else pc.less_equal
    return pc.fill_null(pc.invert(compare(column.cast(limit.type), limit)), False)


def _decimal_bound(bound: float, dtype: pa.DataType, rounding: str) -> Decimal:
    """Return the bound as written, on the nearest step of `dtype` that lies within it."""
    exact = Context(prec=dtype.precision)
    step = Decimal(1).scaleb(-dtype.scale)
    farthest: Decimal = (Decimal(10) ** (38 - dtype.scale)).quantize(step, context=exact)  # beyond any 128-bit decimal
    return max(-farthest, min(Decimal(str(bound)), farthest)).quantize(step, rounding, exact)


def _few(values: Sequence[Any]) -> str:
    rest = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(map(repr, values[:_SHOWN])) + rest


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def rows_of(mask: pa.ChunkedArray, values: pa.ChunkedArray | None = None) -> str:
    """Return for people the first rows at which a mask is true, with their values, and how many more there are."""
    return listed(positions_of(mask), values)


def positions_of(mask: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return where a mask is true; Arrow's indices_nonzero crashes on an array without chunks."""
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy())


def listed(positions: np.ndarray[Any, np.dtype[np.int64]], values: pa.ChunkedArray | None = None) -> str:
    """Return the first rows of some, with their values, and how many more there are."""
    first = positions[:_SHOWN].tolist()
    shown = [f"{p} ({values[p].as_py()!r})" if values is not None else str(p) for p in first]
    rest = f" and {len(positions) - _SHOWN} more" if len(positions) > _SHOWN else ""
    return f"row {', '.join(shown)}{rest}"
