"""The method that writes what a view's source yields, or what somebody has; what is there already may be left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import ConfigurationError, SourceError
from fs_core.offline.contract import EMPTY
from fs_core.store.history.append import append
from fs_core.store.history.parts import append_parts, large
from fs_core.store.history.turns import in_turn
from fs_core.store.history.write import opened
from fs_core.store.resources import Resources
from fs_core.values.times import EARLIEST, Moment, duration_micros, micros, parse_duration

if TYPE_CHECKING:
    from fs_core.offline.sifted import Written
    from fs_core.sources.sources import Times

log = logging.getLogger("fs_core")


def backfill(
    store: Resources,
    view: str | FeatureView,
    data: Any = None,
    *,
    start: Moment | None = None,
    end: Moment | None = None,
    incremental: bool = False,
    lookback: timedelta | str | None = None,
) -> Written:
    """Append what a view's source yields to history, or some data; return the number of rows, as `write` does.

    Args:
        view: its reference.
        data: rows to append in place of what the source yields, whatever `write` takes; the view needs no source then.
            All are checked, whichever are asked for, and errors count them as in the data; of a Spark frame, those
            that Spark hands over, which leaves out other times where it can.
        start: leave out facts whose event time is earlier.
        end: leave out facts whose event time is this or later.
        incremental: leave out what history has already: new, late and corrected rows alone are written, however
            often this runs and wherever it was interrupted. A row is known by its keys, event time and values (and
            its availability, where the view names a column for it).
        lookback: with `incremental`, how long before history's latest event time the source is still looked
            through for late and corrected rows, such as `"2d"`; None for all of it.

    Of incremental backfills of a view one runs after the other, so that none adds what another has added. So rows that
    come as a stream may not come from such a backfill of the same view.

    Raises:
        SourceError: the view has no source, a file is missing, the SQL fails or yields other columns; Spark can't
            compute the frame.
        OfflineStoreError: another incremental backfill of the view has run for ten minutes meanwhile.
        ConfigurationError: `lookback` without `incremental`.
        SchemaError, ValidationError, RegistryError, OfflineStoreError: as in `write`.
    """
    from fs_core.lineage.events import reported
    from fs_core.sources.sources import Times

    target = store.view(view)
    if lookback is not None and not incremental:
        raise ConfigurationError("lookback is for incremental=True: it bounds what is compared with history.")
    if data is None and target.source is None:
        raise SourceError(
            f"view {target.ref!r} has no source to run. Use write or push, pass rows as data, or declare one."
        )
    first = _latest(None if start is None else micros(start), _looked_back_to(store, target, lookback))
    times = Times(target.event_timestamp, first, None if end is None else micros(end))
    if data is None:
        _warn_of_empty_views(store, target)
    with reported(lambda: store.lineage.backfill_of(target, from_source=data is None)) as activity:
        with in_turn(store, target) if incremental else nullcontext():
            if data is None:
                written = _run(store, target, times, incremental)
            else:
                found = opened(target, data, times)
                parts = iter([found]) if isinstance(found, pa.Table) else found
                written = _append(store, target, parts, incremental, times)
        if activity:
            activity.written = written
    return written


def _run(store: Resources, view: FeatureView, times: Times, incremental: bool) -> Written:
    """Append what a view's source yields."""
    from fs_core.sources.sources import source_parts
    from fs_core.store.definitions.tables import StoreTables

    tables = StoreTables(store)
    rows = source_parts(view, tables, store._configuration.directory, start=times.start, end=times.end)
    first = next(rows)  # so that a source that fails does so before anything else
    store.lineage.refresh_unresolved(view)
    return _append(store, view, chain([first], rows), incremental, None)


def _append(
    store: Resources, view: FeatureView, rows: Iterator[pa.Table], incremental: bool, times: Times | None
) -> Written:
    """Append rows part after part; few are read whole before they are compared with history."""
    if store.offline.snapshot(view) == EMPTY:
        return append_parts(store, view, rows, times=times)
    parts = large(rows)
    first, more = next(parts), next(parts, None)
    if more is None:
        return append(store, view, first, incremental=incremental, times=times)
    return append_parts(store, view, chain([first, more], parts), incremental=incremental, times=times)


def _warn_of_empty_views(store: Resources, view: FeatureView) -> None:
    """Say in the log where a view's SQL reads a view that has no history yet: there is nothing to make rows of."""
    from fs_core.sources.tables import ViewHistory, read_directly
    from fs_core.store.definitions.tables import StoreTables

    for table in read_directly(view, StoreTables(store)):
        if isinstance(table, ViewHistory) and store.offline.snapshot(table.view) == EMPTY:
            log.warning("view %s reads %s, which has no history yet. Fill that first.", view.ref, table.view.ref)


def _looked_back_to(store: Resources, view: FeatureView, lookback: timedelta | str | None) -> int | None:
    """Return from which event time on rows are looked through, microseconds; None for all."""
    newest = None if lookback is None else store.offline.newest_event(view)
    if newest is None:
        return None
    return max(newest - duration_micros(parse_duration(lookback or "0s", "lookback")), EARLIEST)


def _latest(*moments: int | None) -> int | None:
    return max((moment for moment in moments if moment is not None), default=None)
