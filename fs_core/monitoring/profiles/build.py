"""Making profiles: of a view's history, and of a training set. Nothing is kept, so nothing has to be erased."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core.monitoring.profiles.column import summarize
from fs_core.monitoring.profiles.profile import Profile, Span, Summary
from fs_core.offline.search.engine import numbers
from fs_core.rule import AVAILABLE_AT, EVENT_TIME
from fs_core.values.dtypes import canonical
from fs_core.values.times import to_utc_micros

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView
    from fs_core.training_set import TrainingSet

Ints = np.ndarray[Any, np.dtype[np.int64]]
_DAY = 86_400 * 10**6


def profile_rows(view: FeatureView, rows: pa.Table) -> Profile:
    """Return the profile of rows of a view's history, by the day on which they became available.

    Args:
        view: whose rows.
        rows: in `history_schema(view)`.
    """
    columns = {name: rows[name] for name in view.stored}
    types = {name: canonical(dtype) for name, dtype in view.stored.items()}
    event, available = numbers(rows[EVENT_TIME]), numbers(rows[AVAILABLE_AT])
    return Profile(view.ref, types, dict(_by_day(columns, event, available)))


def profile_training_set(training_set: TrainingSet) -> Profile:
    """Return the profile of a training set's features, by the day of each row; rows without a time are left out."""
    table = training_set.table.filter(training_set.table[training_set.timestamp].is_valid())
    columns = {name: table[name] for name in training_set.features}
    times = to_utc_micros(table[training_set.timestamp], training_set.timestamp, "down")
    types = {name: str(column.type) for name, column in columns.items()}
    return Profile("training set", types, dict(_by_day(columns, numbers(times), None)))


def _by_day(
    columns: Mapping[str, pa.ChunkedArray], event: Ints, available: Ints | None
) -> Iterator[tuple[date, Summary]]:
    days = (event if available is None else available) // _DAY
    order = np.argsort(days, kind="stable")
    found, starts = np.unique(days[order], return_index=True)
    table = pa.table(dict(columns)).take(pa.array(order))
    ends = np.append(starts, len(order))[1:]
    for day, start, end in zip(found.tolist(), starts.tolist(), ends.tolist(), strict=True):
        picked = order[start:end]
        part = {name: summarize(table[name].slice(start, end - start)) for name in columns}
        known = None if available is None else available[picked]
        delay = None if known is None else summarize(pa.array(known - event[picked]))
        spans = _span(event[picked]), None if known is None else _span(known)
        yield date(1970, 1, 1) + timedelta(days=day), Summary(end - start, part, *spans, delay)


def _span(times: Ints) -> Span:
    return Span(int(times.min()), int(times.max()))
