"""Checking rows before they are written: columns, types, keys, clocks, ranges. All or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fs_core.asof import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema
from fs_core.casting import cast_lossless
from fs_core.definitions import FeatureView, Field
from fs_core.errors import DataError, SchemaError, ValidationError, did_you_mean
from fs_core.times import LATEST, MICROSECONDS, to_utc_micros

_SHOWN = 5  # offending rows an error names


def validate_rows(view: FeatureView, data: pa.Table, *, pushed_at: int | None = None) -> pa.Table:
    """Return `data` in `history_schema(view)` without its sequence column, or refuse it whole.

    Args:
        view: what the rows should be.
        data: keys, the view's event time, its availability if it names a column, and its features.
        pushed_at: the moment of a push, microseconds; it is the availability then, and a column of
            the view's name for it is optional and ignored.

    Raises:
        SchemaError: a column is missing, unexpected or of the wrong type.
        ValidationError: a null key or time, a null or value that a field doesn't allow.
        DataError: a time outside the years 1 to 9999.
    """
    _check_columns(view, data.column_names, pushed=pushed_at is not None)
    what = f"view {view.name!r}: column"
    columns = {
        name: cast_lossless(data[name], dtype, f"{what} {name!r}")
        for name, dtype in {**view.keys, **view.features}.items()
    }
    event_time = to_utc_micros(data[view.event_timestamp], view.event_timestamp, "up")
    named = view.available_at if pushed_at is None else None
    available = to_utc_micros(data[named], named, "up") if named else event_time
    nulls = {**{key: columns[key] for key in view.keys}, view.event_timestamp: event_time}
    problems = [*_nulls(nulls | ({named: available} if named else {})), *_field_problems(view.fields, columns)]
    if problems:
        raise ValidationError(f"view {view.name!r}: " + "; ".join(problems) + ". Nothing was written.")
    columns |= {EVENT_TIME: event_time, AVAILABLE_AT: _effective(view, event_time, available, pushed_at)}
    schema = pa.schema([f for f in history_schema(view) if f.name != SEQ])
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def with_sequence(view: FeatureView, rows: pa.Table, first: int) -> pa.Table:
    """Return checked rows in `history_schema(view)`, numbered from `first` in row order."""
    numbered = rows.append_column(SEQ, pa.array(range(first, first + rows.num_rows), pa.int64()))
    schema = history_schema(view)
    return numbered.select(schema.names).cast(schema)


def _effective(
    view: FeatureView, event_time: pa.ChunkedArray, available: pa.ChunkedArray, pushed_at: int | None
) -> pa.ChunkedArray:
    """Return `a = max(available_at, event_time + lag)`."""
    ready = pc.add(event_time.cast(pa.int64()), view.lag_micros)
    known = available.cast(pa.int64()) if pushed_at is None else pa.scalar(pushed_at, pa.int64())
    effective = pc.max_element_wise(ready, known)
    latest = pc.max(effective).as_py()
    if latest is not None and latest > LATEST:
        raise DataError(f"view {view.name!r}: {view.event_timestamp!r} plus the lag leaves the year 9999.")
    return effective.cast(MICROSECONDS)


def _check_columns(view: FeatureView, present: Iterable[str], *, pushed: bool) -> None:
    present = list(present)
    required = [*view.keys, view.event_timestamp, *view.features]
    available = [view.available_at] if view.available_at and view.available_at not in required else []
    required += [] if pushed else available
    missing = [name for name in required if name not in present]
    extra = [name for name in present if name not in [*required, *available]]
    if missing:
        hints = "".join(did_you_mean(name, extra or present) for name in missing[:1])
        raise SchemaError(f"view {view.name!r}: missing column {', '.join(map(repr, missing))}.{hints}")
    if extra:
        raise SchemaError(
            f"view {view.name!r}: unexpected column {', '.join(map(repr, extra))}. "
            f"Drop it, or declare it as a Field.{did_you_mean(extra[0], required)}"
        )


def _nulls(columns: dict[str, pa.ChunkedArray]) -> Iterable[str]:
    for name, column in columns.items():
        if column.null_count:
            yield f"column {name!r} is null in {_rows(pc.is_null(column))}"


def _field_problems(fields: Iterable[Field], columns: dict[str, pa.ChunkedArray]) -> Iterable[str]:
    """Yield what is wrong with the features. NaN is outside any declared range."""
    for field in fields:
        column = columns[field.name]
        if not field.nullable and column.null_count:
            yield f"column {field.name!r} is null in {_rows(pc.is_null(column))}, and not nullable"
        for bound, inside in ((field.minimum, pc.greater_equal), (field.maximum, pc.less_equal)):
            if bound is None:
                continue
            outside = pc.fill_null(pc.invert(inside(column, _bound(bound, field.type))), False)
            if pc.any(outside).as_py():
                side = "below the minimum" if inside is pc.greater_equal else "above the maximum"
                yield f"column {field.name!r} is {side} {bound} in {_rows(outside, column)}"


def _bound(bound: float, dtype: pa.DataType) -> pa.Scalar:
    """Return a bound as Arrow compares it: exactly, whatever the column's type."""
    if pa.types.is_float16(dtype) or pa.types.is_float32(dtype):
        return pa.scalar(float(bound), pa.float64())
    return pa.scalar(bound)


def _rows(mask: pa.ChunkedArray, values: pa.ChunkedArray | None = None) -> str:
    places: list[Any] = pc.indices_nonzero(mask).to_pylist()
    shown = [f"{p} ({values[p].as_py()!r})" if values is not None else str(p) for p in places[:_SHOWN]]
    rest = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return f"row {', '.join(shown)}{rest}"
