"""Rows that are in history, brought online: as far as they are available, and never what was forgotten meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import OnlineStoreError
from fs_core.rule import AVAILABLE_AT, SEQ
from fs_core.store.resources import Resources

if TYPE_CHECKING:
    from fs_core.materialization.retract import Delivery


def deliver(
    store: Resources, view: FeatureView, written: pa.Table, now: int, sent_by: Delivery | OnlineStoreError | None
) -> None:
    """Bring rows online that are in history, as far as they are available.

    Args:
        store: whose online store.
        view: whose rows.
        written: the rows, as history has them.
        now: the present moment, microseconds.
        sent_by: what `delivery` returned before they were in history; None for a view that isn't online.

    Raises:
        OnlineStoreError: they are not, or not all.
    """
    if isinstance(sent_by, OnlineStoreError):
        with _safe_in_history():
            raise sent_by
    if sent_by is not None:
        _send(store, view, written, now, sent_by)
        if view.aggregations and not _is_all_pushed(store, view, written):
            store._unfilled.look_after(store.online, [view])  # a read finds windows, though events may lack in them


def _is_all_pushed(store: Resources, view: FeatureView, written: pa.Table) -> bool:
    """Return whether history has no rows but those that this store pushed: these have all seqs from 0 on."""
    seqs, pushed = written[SEQ].cast(pa.int64()).to_numpy(), store._all_pushed.get(view.storage_name, 0)
    if not len(seqs):
        return True
    if seqs.min() == pushed:
        store._all_pushed[view.storage_name] = int(seqs.max()) + 1
    return bool(seqs.min() == pushed)


def delivery(store: Resources, view: FeatureView) -> Delivery | OnlineStoreError:
    """Return what a push keeps to, or why the online store can't be asked."""
    from fs_core.materialization.retract import Delivery

    try:
        generation = store._generations.get(view.storage_name)
        return Delivery(view, store.offline, store.online, store._clock.now, generation=generation)
    except OnlineStoreError as error:
        return error


def _send(store: Resources, view: FeatureView, written: pa.Table, now: int, delivery: Delivery) -> None:
    """Bring those rows online that are available."""
    from fs_core.materialization.materialize import packed, send

    ready = _available(written, now)
    if ready.num_rows == 0:
        return
    before = delivery.generation
    try:
        with delivery.settled(partial(packed, view, ready)), _safe_in_history():
            send(view, store.online, ready, now=now, offline=store.offline)
    finally:
        if delivery.generation != before:
            store._cache.take()  # they may hold what was taken back
    store._generations[view.storage_name] = delivery.generation


def _available(written: pa.Table, now: int) -> pa.Table:
    """Return those rows that are available."""
    import pyarrow.compute as pc

    moments = written[AVAILABLE_AT].cast(pa.int64())
    return written if (moments.to_numpy() <= now).all() else written.filter(pc.less_equal(moments, now))


@contextmanager
def _safe_in_history() -> Iterator[None]:
    """Say of pushed rows that couldn't be sent where they are."""
    try:
        yield
    except OnlineStoreError as error:
        error.add_note("The pushed rows are safe in history; materialize brings them online.")
        raise
