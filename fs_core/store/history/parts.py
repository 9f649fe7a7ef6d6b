"""Rows that come part after part, so that they may be larger than memory, into history, all or none."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import DataError
from fs_core.rule import EVENT_TIME
from fs_core.runtime.threads import in_thread
from fs_core.store.history.append import append, into_quarantine, numbered, sifted_of, warn_of_known
from fs_core.store.resources import Resources

if TYPE_CHECKING:
    from fs_core.offline.sifted import Sifted, Written
    from fs_core.sources.sources import Times

log = logging.getLogger("fs_core")

_PART_BYTES = 64 << 20  # of a stream's rows that are checked and sorted together
_COMPARED = 8  # parts that are compared with history at once, as each time all of it is read


def append_parts(
    store: Resources,
    view: FeatureView,
    parts: Iterable[pa.Table],
    *,
    incremental: bool | None = None,
    times: Times | None = None,
) -> Written:
    """Check, number and append rows part after part, all or none; return how many.

    Args:
        store: where.
        view: to whose history.
        parts: the rows.
        incremental: for a backfill into a history with rows, whether to leave out what is there already.
        times: as for `append`.
    """
    from fs_core.offline.contract import StreamedHistory
    from fs_core.offline.sifted import NOTHING, Written

    if not isinstance(store.offline, StreamedHistory):
        return append(store, view, pa.concat_tables(parts), incremental=incremental, times=times)
    counts, quarantined = list[int](), [NOTHING]
    ready = _numbered(store, view, parts, counts, quarantined, incremental, times)
    for first in ready:
        store.offline.append_parts(view, chain([first], ready))
    log.info("wrote %d rows to %s", sum(counts), view.ref)
    return Written(sum(counts), pa.concat_tables(quarantined))


def _numbered(
    store: Resources,
    view: FeatureView,
    parts: Iterable[pa.Table],
    counts: list[int],
    quarantined: list[pa.Table],
    incremental: bool | None,
    times: Times | None,
) -> Iterator[pa.Table]:
    """Yield rows checked and numbered; in the end quarantine those that break a rule.

    Args:
        store: where.
        view: whose rows.
        parts: the rows.
        counts: gets how many are good, each time.
        quarantined: gets what a writer is answered of those.
        incremental: as for `append_parts`.
        times: as for `append`.
    """
    from fs_core.offline.sifted import Sifted

    broken: list[Sifted] = []
    found: Iterator[pa.Table] = (
        numbered(store, view, good) for good in _checked(view, parts, broken, times) if good.num_rows
    )
    if incremental is not None:
        found = (_missing if incremental else _with_warning)(store, view, found)
    for rows in found:
        if rows.num_rows:
            counts.append(rows.num_rows)
            yield rows
    if broken:  # in another thread: Delta's library runs this one, and can't be called from it
        held = Sifted.joined(broken)
        quarantined.append(in_thread(lambda: _quarantined(store, view, held, incremental)).result())


def _checked(
    view: FeatureView, parts: Iterable[pa.Table], broken: list[Sifted], times: Times | None
) -> Iterator[pa.Table]:
    """Yield the good rows; those that break a rule are for `broken`."""
    first = 0
    for part in large(parts):
        try:
            sifted = sifted_of(view, part, times)
        except DataError as error:
            if not first:
                raise
            raise type(error)(f"{error} Rows are counted from row {first:,} of the data on.") from error
        if sifted.positions:
            broken.append(sifted.moved(first))
        first += part.num_rows
        yield sifted.good


def _missing(store: Resources, view: FeatureView, parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows that history lacks.

    What is compared with each other must come together: see `OfflineStore.unwritten`. Rows are numbered already, so
    their order is that of the data all the same.
    """
    from fs_core.sources.buckets import Buckets

    with Buckets([*view.keys, *(view.event_id or [EVENT_TIME])]) as buckets:
        for part in parts:
            buckets.add(part)
        for rows in large(buckets.tables(), _COMPARED):
            yield in_thread(partial(store.offline.unwritten, view, rows)).result()


def _with_warning(store: Resources, view: FeatureView, parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows; say in the log how many of the first part history has: to compare all would take a disk."""
    for first in parts:
        known = first.num_rows - in_thread(partial(store.offline.unwritten, view, first)).result().num_rows
        yield first
        yield from parts
        if known:
            warn_of_known(view, known, f"the first {first.num_rows}")


def _quarantined(store: Resources, view: FeatureView, held: Sifted, incremental: bool | None) -> pa.Table:
    """Quarantine rows; of a backfill that leaves out what is there already, those that history hasn't."""
    known = held.without_known(partial(store.offline.unwritten, view)) if incremental else held
    return into_quarantine(store, view, known)


def large(parts: Iterable[pa.Table], times: int = 1) -> Iterator[pa.Table]:
    """Yield tables as fewer ones, each large enough to be worth sorting and small enough for memory; at least one.

    Args:
        parts: the tables.
        times: how many times as large they may be.

    Raises:
        SchemaError: no type holds the values of a column in all of them.
    """
    from fs_core.sources.sources import joined

    held, size = list[pa.Table](), 0
    for part in parts:
        if held and size + part.nbytes > times * _PART_BYTES:
            yield joined(held)
            held, size = [], 0
        held, size = [*held, part], size + part.nbytes
    if held:
        yield joined(held)
