"""Live rows as they come: whole or in part, times as text, waited for or awaited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import DefinitionError
from fs_core.retrieval.selection import ViewLookup, key_table
from fs_core.rule import at_moment
from fs_core.store import history
from fs_core.store.resources import Resources
from fs_core.values.interchange import to_table
from fs_core.values.times import from_micros

log = logging.getLogger("fs_core")


def push(store: Resources, view: str | FeatureView, rows: Any, *, partial: bool = False) -> int:
    """Take live rows: into history first, then online; return how many.

    Their availability is the moment of the push, whatever a column says. Text stands for times and dates: ISO 8601,
    UTC without an offset. Rows that lie in the future, or that a declared lag keeps back, wait in history for a later
    `materialize`, and the log says so.

    Args:
        view: its reference.
        rows: keys, event time and features; anything that `to_table` reads.
        partial: features may be left out. A row then keeps what the rule gives for its entity at this moment: the
            values of the row that wins in history, nulls where none does or it has expired. A null that is passed is
            a value. Partial pushes to one view take turns, as long as they come from one machine. A whole push doesn't
            wait for them: one that comes between a partial push's look and its row may be overwritten by the values
            that were there before. So push a view's rows always in part, or never.

    Raises:
        SchemaError, ValidationError, RegistryError: as in `write`; nothing was written.
        DefinitionError: `partial` for a view with aggregations, whose rows are events, or with a lag, which keeps the
            last row from counting yet.
        OnlineStoreError: the rows are safe in history, but not online; `materialize` brings them. Or entities may
            have been forgotten meanwhile, and a store doesn't say so: the error's notes do.
        OfflineStoreError: history can't be written, or not be asked who was forgotten meanwhile.
    """
    target = store._view_to_push(view)
    if partial and target.lag_micros:
        raise DefinitionError(
            f"view {target.ref!r} has a lag: what was pushed last isn't available yet, so a row in part couldn't keep "
            "it. Push whole rows."
        )
    what = f"rows for view {target.name!r}"
    data = _with_times(target, to_table(rows, what), what)
    lacking = [name for name in target.written if name not in data.column_names]
    if partial and lacking:
        with _turn(store, target):
            count = history.push(store, target, _completed(store, target, data, lacking, what))
    else:
        count = history.push(store, target, data)
    _tell_of_later(store, target, data)
    return count


async def push_async(store: Resources, view: str | FeatureView, rows: Any, *, partial: bool = False) -> int:
    """Do what `push` does, in a thread, while the event loop goes on."""
    return await asyncio.to_thread(push, store, view, rows, partial=partial)


def _with_times(view: FeatureView, data: pa.Table, what: str) -> pa.Table:
    """Return rows with text for times and dates read as such; facts' times round up."""
    from fs_core.values.casting import parse_text
    from fs_core.values.times import MICROSECONDS

    types = {**view.request_keys, **view.written, view.event_timestamp: MICROSECONDS}
    for place, name in enumerate(data.column_names):
        dtype = types.get(name)
        if dtype is not None and pa.types.is_temporal(dtype):
            column = parse_text(data[name], dtype, f"{what}: column {name!r}", rounding="up")
            data = data if column is data[name] else data.set_column(place, name, column)
    return data


def _completed(store: Resources, view: FeatureView, data: pa.Table, lacking: list[str], what: str) -> pa.Table:
    """Return rows with the features that they lack as the rule has them now.

    Rows of one push lack the same features, so of several of one entity each keeps what the first keeps.
    """
    if view.aggregations:
        raise DefinitionError(f"view {view.ref!r} has events, and an event is whole. Push it with every field.")
    keys = key_table(data, ViewLookup(view, tuple(view.request_keys)), what)
    found = store.offline.as_of(view, at_moment(keys, store._clock.now()), lacking)
    for name in lacking:
        data = data.append_column(name, found[name])
    return data


@contextmanager
def _turn(store: Resources, view: FeatureView) -> Iterator[None]:
    """Wait until no other partial push to a view is between its look into history and its own rows."""
    from filelock import FileLock

    with FileLock(Path(store.directory) / f".partial-{view.storage_name}.lock"):
        yield


def _tell_of_later(store: Resources, view: FeatureView, data: pa.Table) -> None:
    """Say in the log how many rows aren't served yet; where the lag alone keeps them back, once for a view."""
    import pyarrow.compute as pc

    from fs_core.values.times import to_utc_micros

    if not view.online or data.num_rows == 0:
        return
    now, times = store._clock.now(), to_utc_micros(data[view.event_timestamp], view.event_timestamp, "up")
    latest = pc.max(times.cast(pa.int64())).as_py()
    if latest <= now - view.lag_micros or (latest <= now and view.ref in store._kept_back):
        return
    later = pc.greater(times.cast(pa.int64()), now - view.lag_micros)
    store._kept_back.add(view.ref)
    log.warning(
        "%d of %d rows pushed to %s aren't served yet: with their event times%s they are available at %s at the "
        "latest. They wait in history; materialize(%r) then brings them.",
        pc.sum(later).as_py(),
        data.num_rows,
        view.ref,
        " and the view's lag" if view.lag_micros else "",
        from_micros(latest + view.lag_micros).isoformat(),
        view.name,
    )
