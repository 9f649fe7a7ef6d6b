"""Methods that take live rows as they come: whole or in part, waited for or awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from fs_core.definitions import FeatureView
from fs_core.errors import DefinitionError
from fs_core.retrieval.selection import ViewLookup, key_table
from fs_core.store.history.append import FEW_ROWS
from fs_core.store.live.batch import Rows, push_together, what_rows, with_times
from fs_core.store.live.partial import Part, push_parts
from fs_core.store.resources import Resources
from fs_core.values.interchange import to_table
from fs_core.values.plain import PlainRows

if TYPE_CHECKING:
    from fs_core.offline.sifted import Written


def push(store: Resources, view: str | FeatureView, rows: Any, *, partial: bool = False) -> Written:
    """Take live rows: into history first, then online; return how many.

    Where the view has a quarantine, rows that break what it declares go there, and the number's `.quarantined` names
    them: `row` in the data, `id` and `reason`.

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
    what = what_rows(target)
    if not partial:
        return _push(store, target, PlainRows.of(rows) or to_table(rows, what))
    data = with_times(target, to_table(rows, what), what)
    lacking = [name for name in target.written if name not in data.column_names]
    if not lacking:
        return _push(store, target, data)
    if target.aggregations:
        raise DefinitionError(f"view {target.ref!r} has events, and an event is whole. Push it with every field.")
    keys = key_table(data, ViewLookup(target, tuple(target.request_keys)), what)
    return _grouped(store, target, push_parts, Part(data, keys, lacking), data.num_rows)


async def push_async(store: Resources, view: str | FeatureView, rows: Any, *, partial: bool = False) -> Written:
    """Do what `push` does, in a thread, while the event loop goes on."""
    return await asyncio.to_thread(push, store, view, rows, partial=partial)


def _push(store: Resources, view: FeatureView, data: Rows) -> Written:
    """Take whole rows; return how many."""
    return _grouped(store, view, push_together, data, data.num_rows)


def _grouped(
    store: Resources,
    view: FeatureView,
    work: Callable[[Resources, FeatureView, Sequence[Any]], Sequence[Written | Exception]],
    rows: Any,
    count: int,
) -> Written:
    """Take few rows with those of other threads, many alone; return how many.

    Args:
        store: where.
        view: whose rows.
        work: takes the rows of several pushes.
        rows: what this push brings, as `work` takes it.
        count: how many rows that are.
    """
    few = count <= FEW_ROWS
    answer: Any = store._grouped(work, view)(rows) if few else work(store, view, [rows])[0]
    if isinstance(answer, Exception):
        raise answer
    assert isinstance(answer, int)
    return cast("Written", answer)
