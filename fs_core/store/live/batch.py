"""Pushes that met, taken together: checked, in one step each into history and online, each answered for itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import DataError, FeatureStoreError, OfflineStoreError, OnlineStoreError
from fs_core.rule import EVENT_TIME
from fs_core.store.history.append import into_history, into_quarantine
from fs_core.store.live.delivery import deliver, delivery
from fs_core.store.resources import Resources
from fs_core.values.interchange import to_table
from fs_core.values.plain import PlainRows
from fs_core.values.times import EARLIEST, MICROSECONDS, from_micros

if TYPE_CHECKING:
    from fs_core.offline.sifted import Written

log = logging.getLogger("fs_core")

Rows: TypeAlias = pa.Table | PlainRows
"""What one push brings."""

PushAnswer: TypeAlias = pa.Table | FeatureStoreError
"""What a push is answered: which of its rows are in quarantine, or why all are refused."""


def push_together(store: Resources, view: FeatureView, together: Sequence[Rows]) -> list[Written | FeatureStoreError]:
    """Take the rows of pushes that met, in one step each into history and online; return what each is answered."""
    now = store._clock.now()
    found, answers = _checked(store, view, together, now)
    if found:
        good = _concatenated(found)
        sent_by = delivery(store, view) if view.online else None  # before the rows are in history
        written = into_history(store, view, good, pushed=True)
        try:
            deliver(store, view, written, now, sent_by)
        except OnlineStoreError as error:  # it says that rows are in history: only to those whose rows are
            return [error if isinstance(one, int) and one else one for one in _answered(together, answers)]
        if view.online:
            taken = [one for one in _answered(together, answers) if isinstance(one, int)]
            _tell_of_later(store, view, good[EVENT_TIME], taken, now)
    return _answered(together, answers)


def _answered(together: Sequence[Rows], answers: Sequence[PushAnswer]) -> list[Written | FeatureStoreError]:
    """Return how many rows of each push were taken, or why none was."""
    from fs_core.offline.sifted import Written

    return [
        Written(data.num_rows - len(one), one) if isinstance(one, pa.Table) else one
        for data, one in zip(together, answers, strict=True)
    ]


def _checked(
    store: Resources, view: FeatureView, together: Sequence[Rows], now: int
) -> tuple[list[pa.Table], list[PushAnswer]]:
    """Check the rows of pushes at once; where that fails, those of each half, to learn whose are wrong.

    Returns:
        The good rows in their order, none where there is no good push; and what each push is answered.
    """
    from fs_core.offline.sifted import NOTHING
    from fs_core.transforms.written import checked_rows

    try:
        whole = _joined(view, together)
        if whole is not None:
            return [checked_rows(view, _read(view, whole), pushed_at=now)], [NOTHING] * len(together)
    except DataError as error:
        if len(together) == 1 and view.on_violation == "refuse":
            return [], [error]
    if len(together) > 1:
        halves = together[: len(together) // 2], together[len(together) // 2 :]
        (first, mine), (second, theirs) = (_checked(store, view, half, now) for half in halves)
        return first + second, mine + theirs
    try:
        rows, quarantined = _sifted(store, view, together[0], now)
    except (DataError, OfflineStoreError) as error:
        return [], [error]
    return [rows], [quarantined]


def _sifted(store: Resources, view: FeatureView, data: Rows, now: int) -> tuple[pa.Table, pa.Table]:
    """Return the good rows of a push, and which of them are in quarantine now."""
    from fs_core.transforms.written import sifted_rows

    sifted = sifted_rows(view, _read(view, data), pushed_at=now)
    return sifted.good, into_quarantine(store, view, sifted, pushed=True)


def _joined(view: FeatureView, together: Sequence[Rows]) -> Rows | None:
    """Return the rows of pushes as those of one; None where they may be read otherwise together than alone."""
    if len(together) == 1:
        return together[0]
    plain = [data for data in together if isinstance(data, PlainRows)]
    if len(plain) == len(together):
        return PlainRows.joined(plain)
    tables = [_table(view, data) for data in together]
    return _concatenated(tables) if all(table.schema.equals(tables[0].schema) for table in tables) else None


def _read(view: FeatureView, data: Rows) -> pa.Table:
    """Return rows as a table, with text for times read as such."""
    return with_times(view, _table(view, data), what_rows(view))


def _table(view: FeatureView, data: Rows) -> pa.Table:
    return to_table(data.columns, what_rows(view)) if isinstance(data, PlainRows) else data


def what_rows(view: FeatureView) -> str:
    """Return what errors call the rows of a push."""
    return f"rows for view {view.name!r}"


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables as one, in one chunk: whatever looks at a column then looks at one array."""
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables).combine_chunks()


def with_times(view: FeatureView, data: pa.Table, what: str) -> pa.Table:
    """Return rows with text for times and dates read as such; facts' times round up.

    Args:
        view: whose rows.
        data: the rows.
        what: what errors call them.
    """
    from fs_core.values.casting import parse_text

    for name, dtype in _time_columns(view):
        index = data.schema.get_field_index(name)
        if index >= 0:
            column = data.column(index)
            parsed = parse_text(column, dtype, f"{what}: column {name!r}", rounding="up")
            data = data if parsed is column else data.set_column(index, name, parsed)
    return data


@lru_cache(maxsize=1024)
def _time_columns(view: FeatureView) -> tuple[tuple[str, pa.DataType], ...]:
    """Return the columns of pushed rows that hold times or dates, with their types."""
    types = {**view.request_keys, **view.written, view.event_timestamp: MICROSECONDS}
    return tuple((name, dtype) for name, dtype in types.items() if pa.types.is_temporal(dtype))


def _tell_of_later(store: Resources, view: FeatureView, times: pa.ChunkedArray, taken: Sequence[int], now: int) -> None:
    """Say in the log how many rows of each push aren't served yet; where the lag alone keeps them back, once a view.

    Args:
        store: that took the rows.
        view: whose rows.
        times: when they happened, microseconds.
        taken: how many rows each push has, in order.
        now: the moment of the pushes, microseconds.
    """
    counts = times.cast(pa.int64()).to_numpy()
    if not len(counts) or counts.max() <= now - view.lag_micros:
        return
    for mine in np.split(counts, np.cumsum(taken[:-1])):
        latest = int(mine.max(initial=EARLIEST))
        if latest <= now - view.lag_micros or (latest <= now and view.ref in store._kept_back):
            continue
        store._kept_back.add(view.ref)
        log.warning(
            "%d of %d rows pushed to %s aren't served yet: with their event times%s they are available at %s at the "
            "latest. They wait in history; materialize(%r) then brings them.",
            np.count_nonzero(mine > now - view.lag_micros),
            len(mine),
            view.ref,
            " and the view's lag" if view.lag_micros else "",
            from_micros(latest + view.lag_micros).isoformat(),
            view.name,
        )
