"""Rows that are to be written, in the columns and types of history: columns, types, keys and clocks are checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.errors import DataError, SchemaError, ValidationError, did_you_mean
from fs_core.offline.sifted import Sifted
from fs_core.offline.validation.violations import Violation, listed, positions_of, reasons_of, rows_of, violations
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema
from fs_core.values.casting import cast_lossless
from fs_core.values.times import EARLIEST, LATEST, MICROSECONDS, to_utc_micros

Compute = Callable[[Mapping[str, pa.ChunkedArray]], Mapping[str, pa.ChunkedArray]]
"""Gives the columns that a view computes from those that its rows bring."""

_STEPS = {"s": 10**6, "ms": 10**3, "us": 1}  # microseconds in a step of each unit


def validate_rows(
    view: FeatureView, data: pa.Table, *, pushed_at: int | None = None, compute: Compute = lambda _: {}
) -> pa.Table:
    """Return `data` in `history_schema(view)` without its sequence column, or refuse it whole.

    Args:
        view: what the rows should be.
        data: keys, the view's event time, its availability if it names a column, and its fields.
        pushed_at: the moment of a push, microseconds; it is the availability then, and a column of
            the view's name for it is optional and ignored.
        compute: gives the columns of the view's transforms, if it has any.

    Raises:
        SchemaError: a column is missing, unexpected or of the wrong type.
        ValidationError: a null key, time or part of an event's id, a null or value that a field doesn't allow, a
            check that is false, a value for which a `where` fails; lists every such column, with the rows (from 0).
        DataError: a time outside the years 1 to 9999.
    """
    return _completed(view, _given(view, data, pushed_at, lenient=False)[0], compute)


def sift_rows(
    view: FeatureView, data: pa.Table, *, pushed_at: int | None = None, compute: Compute = lambda _: {}
) -> Sifted:
    """Return what `validate_rows` does, but for rows that are to be quarantined: they are returned beside the others.

    Args:
        view: what the rows should be.
        data: as `validate_rows` takes it.
        pushed_at: the moment of a push, microseconds.
        compute: gives the columns of the view's transforms, if it has any; not of rows to be quarantined.

    Raises:
        SchemaError, ValidationError, DataError: as `validate_rows`; where the view has a quarantine, fields that don't
            allow a value and checks that are false refuse nothing.
    """
    given, found = _given(view, data, pushed_at, lenient=view.on_violation == "quarantine")
    if not found:
        return Sifted(_completed(view, given, compute), given.slice(0, 0), (), ())
    bad = np.logical_or.reduce([violation.rows.to_numpy() for violation in found])
    positions = np.flatnonzero(bad).tolist()
    try:
        good = _completed(view, given.filter(~bad), compute)
    except ValidationError as error:
        raise ValidationError(f"{error} Rows are counted without those that would be quarantined.") from error
    return Sifted(good, given.filter(bad), positions, reasons_of(found, positions))


def _given(
    view: FeatureView, data: pa.Table, pushed_at: int | None, *, lenient: bool
) -> tuple[pa.Table, list[Violation]]:
    """Return what rows bring in its types, with both clocks, and which rules they break, if that is to be borne."""
    _check_columns(view, data.column_names, pushed=pushed_at is not None)
    named = view.available_at if pushed_at is None else None
    columns, times = _cast(view, data, [view.event_timestamp, *([named] if named else [])])
    event_time = times[view.event_timestamp]
    available = times[named] if named else event_time
    required = {name: columns[name] for name in (*view.keys, *view.event_id)} | times
    found = violations(view, {**columns, EVENT_TIME: event_time})
    problems = [*_nulls(required), *_beyond_calendar(columns), *([] if lenient else map(str, found))]
    if problems:
        raise ValidationError(f"view {view.name!r}: " + "; ".join(problems) + ". Nothing was written.")
    columns |= {EVENT_TIME: event_time, AVAILABLE_AT: _effective(view, event_time, available, pushed_at)}
    schema = given_schema(view)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema), found


@lru_cache(maxsize=1024)
def given_schema(view: FeatureView) -> pa.Schema:
    """Return the columns that rows bring to a view's history: keys, both clocks, and fields that aren't computed."""
    brought = {*view.keys, EVENT_TIME, AVAILABLE_AT, *view.written}
    return pa.schema([field for field in history_schema(view) if field.name in brought])


def _completed(view: FeatureView, given: pa.Table, compute: Compute) -> pa.Table:
    """Return rows with what the view computes from them, as history has them."""
    checked = given
    if view.transforms:
        columns = {name: given[name] for name in given.column_names}
        columns |= computed(view, columns, compute)
        schema = pa.schema([field for field in history_schema(view) if field.name != SEQ])
        checked = pa.table({name: columns[name] for name in schema.names}, schema=schema)
    _try_predicates(view, checked)
    return checked


def computed(
    view: FeatureView, columns: Mapping[str, pa.ChunkedArray], compute: Compute
) -> Mapping[str, pa.ChunkedArray]:
    """Return what a view computes from the columns of rows; refuse what no history can hold.

    Args:
        view: whose transforms.
        columns: what the rows bring, checked.
        compute: gives the columns of the transforms.

    Raises:
        ValidationError: a date or time is outside the years 1 to 9999; and as `compute` raises.
    """
    found = compute(columns) if view.transforms else {}
    problems = list(_beyond_calendar(found))
    if problems:
        raise ValidationError(f"view {view.name!r}: computed " + "; ".join(problems) + ". Nothing was written.")
    return found


def _try_predicates(view: FeatureView, rows: pa.Table) -> None:
    """Refuse events for which a `where` fails: whoever reads them would fail for ever."""
    if any(aggregation.where for aggregation in view.aggregations):
        from fs_core.offline.predicates import passing

        try:
            passing(view, rows)
        except ValidationError as error:
            raise ValidationError(f"{error} Nothing was written.") from error


def refuse_unreadable(view: FeatureView, rows: pa.Table) -> None:
    """Refuse events that no reader of a view gets past, whatever else is allowed.

    Args:
        view: whose history would have them.
        rows: the rows, as history has them.

    Raises:
        ValidationError: a part of an event's id is null, or a `where` fails for a value; nothing was written.
    """
    problems = list(_nulls({name: rows[name] for name in view.event_id}))
    if problems:
        raise ValidationError(f"view {view.name!r}: " + "; ".join(problems) + ". Nothing was written.")
    _try_predicates(view, rows)


def refuse_violations(view: FeatureView, columns: Mapping[str, pa.ChunkedArray]) -> None:
    """Raise `ValidationError` for rows that the view doesn't allow; lists every column and check, with the rows.

    Args:
        view: which.
        columns: what it stores: keys, event time and fields, in their types.
    """
    problems = [*_beyond_calendar(columns), *map(str, violations(view, columns))]
    if problems:
        raise ValidationError(f"view {view.name!r}: " + "; ".join(problems) + ". Nothing was written.")


def with_sequence(view: FeatureView, rows: pa.Table, first: int) -> pa.Table:
    """Return checked rows in `history_schema(view)`, numbered from `first` in row order.

    Args:
        view: whose rows.
        rows: as `validate_rows` returns them.
        first: the seq of the first row.
    """
    schema = history_schema(view)
    seqs = pa.array(np.arange(first, first + rows.num_rows, dtype=np.int64))
    return pa.Table.from_arrays([seqs if name == SEQ else rows[name] for name in schema.names], schema=schema)


def _cast(
    view: FeatureView, data: pa.Table, clocks: Iterable[str]
) -> tuple[dict[str, pa.ChunkedArray], dict[str, pa.ChunkedArray]]:
    """Return keys and fields in their types, and the clocks in microseconds; report all misfits at once."""
    columns, times, misfits = dict[str, pa.ChunkedArray](), dict[str, pa.ChunkedArray](), list[str]()
    if not view.entities:
        columns |= {name: pa.chunked_array([pa.repeat(pa.scalar(0, t), len(data))]) for name, t in view.keys.items()}
    for name, dtype in {**view.request_keys, **view.written}.items():
        try:
            columns[name] = cast_lossless(data[name], dtype, f"column {name!r}")
        except SchemaError as error:
            misfits.append(str(error))
    for name in clocks:
        try:
            times[name] = to_utc_micros(data[name], name, "up")
        except SchemaError as error:
            misfits.append(str(error))
        except DataError as error:
            raise DataError(f"view {view.name!r}: {error} Nothing was written.") from error
    if misfits:
        raise SchemaError(f"view {view.name!r}: " + " ".join(misfits) + " Nothing was written.")
    return columns, times


def _effective(
    view: FeatureView, event_time: pa.ChunkedArray, available: pa.ChunkedArray, pushed_at: int | None
) -> pa.ChunkedArray:
    """Return `a = max(available_at, event_time + lag)`."""
    lag = min(view.lag_micros, LATEST - EARLIEST + 1)  # a longer one leaves the years as surely, without overflow
    ready = pc.add(event_time.cast(pa.int64()), lag)
    known = available.cast(pa.int64()) if pushed_at is None else pa.scalar(pushed_at, pa.int64())
    effective = pc.max_element_wise(ready, known)
    latest = pc.max(effective).as_py()
    if latest is not None and latest > LATEST:
        raise DataError(
            f"view {view.name!r}: {view.event_timestamp!r} plus the lag leaves the year 9999 in "
            f"{rows_of(pc.greater(effective, LATEST))}. Nothing was written."
        )
    return effective.cast(MICROSECONDS)


def _check_columns(view: FeatureView, present: Iterable[str], *, pushed: bool) -> None:
    present = list(present)
    required = [*view.request_keys, view.event_timestamp, *view.written]
    available = [view.available_at] if view.available_at and view.available_at not in required else []
    required += [] if pushed else available
    missing = [name for name in required if name not in present]
    allowed = {*required, *available}
    extra = [name for name in present if name not in allowed]
    if missing:
        hint = did_you_mean(missing[0], extra) or f" The rows have {', '.join(map(repr, present)) or 'none'}."
        raise SchemaError(f"view {view.name!r}: missing column {', '.join(map(repr, missing))}.{hint}")
    computed = [name for name in extra if name in view.stored]
    if computed:
        raise SchemaError(
            f"view {view.name!r}: column {', '.join(map(repr, computed))} is computed as rows are written; leave "
            "it out."
        )
    if extra:
        raise SchemaError(
            f"view {view.name!r}: unexpected column {', '.join(map(repr, extra))}. "
            f"Drop it, or declare it as a Field.{did_you_mean(extra[0], required)}"
        )


def _nulls(columns: dict[str, pa.ChunkedArray]) -> Iterable[str]:
    for name, column in columns.items():
        if column.null_count:
            yield f"column {name!r} is null in {rows_of(pc.is_null(column))}"


def _beyond_calendar(columns: Mapping[str, pa.ChunkedArray]) -> Iterable[str]:
    """Yield dates and times, in lists too, that Python can't show and Delta tables can't hold."""
    for name, column in columns.items():
        values: pa.ChunkedArray = column
        parents = None
        if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
            values, parents = pc.list_flatten(column), np.repeat(np.arange(len(column)), lengths)
        if pa.types.is_date(values.type):
            values = values.cast(pa.timestamp("s"))
        if pa.types.is_timestamp(values.type):
            counts, steps = values.cast(pa.int64()), _STEPS[values.type.unit]
            outside = pc.or_(pc.less(counts, EARLIEST // steps), pc.greater(counts, LATEST // steps))
            positions = positions_of(outside)
            if len(positions):
                rows = positions if parents is None else np.unique(parents[positions])
                yield f"column {name!r} is outside the years 1 to 9999 in {listed(rows)}"
