"""Live rows as they come: whole or in part, times as text, waited for or awaited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import DataError, DefinitionError, FeatureStoreError, OfflineStoreError, OnlineStoreError
from fs_core.retrieval.selection import ViewLookup, key_table
from fs_core.rule import EVENT_TIME, at_moment
from fs_core.store import history
from fs_core.store.delivery import deliver, delivery
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
    what = _what(target)
    if not partial:
        return _push(store, target, PlainRows.of(rows) or to_table(rows, what))
    data = _with_times(target, to_table(rows, what), what)
    lacking = [name for name in target.written if name not in data.column_names]
    if not lacking:
        return _push(store, target, data)
    if target.aggregations:
        raise DefinitionError(f"view {target.ref!r} has events, and an event is whole. Push it with every field.")
    keys = key_table(data, ViewLookup(target, tuple(target.request_keys)), what)
    return _grouped(store, target, _push_parts, _Part(data, keys, lacking), data.num_rows)


async def push_async(store: Resources, view: str | FeatureView, rows: Any, *, partial: bool = False) -> Written:
    """Do what `push` does, in a thread, while the event loop goes on."""
    return await asyncio.to_thread(push, store, view, rows, partial=partial)


def _push(store: Resources, view: FeatureView, data: Rows) -> Written:
    """Take whole rows; return how many."""
    return _grouped(store, view, _push_together, data, data.num_rows)


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
    few = count <= history.FEW_ROWS
    answer: Any = store._grouped(work, view)(rows) if few else work(store, view, [rows])[0]
    if isinstance(answer, Exception):
        raise answer
    assert isinstance(answer, int)
    return cast("Written", answer)


def _push_together(store: Resources, view: FeatureView, together: Sequence[Rows]) -> list[Written | FeatureStoreError]:
    """Take the rows of pushes that met, in one step each into history and online; return what each is answered."""
    now = store._clock.now()
    found, answers = _checked(store, view, together, now)
    if found:
        good = _concatenated(found)
        sent_by = delivery(store, view) if view.online else None  # before the rows are in history
        written = history.into_history(store, view, good, pushed=True)
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
    return sifted.good, history.into_quarantine(store, view, sifted, pushed=True)


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
    return _with_times(view, _table(view, data), _what(view))


def _table(view: FeatureView, data: Rows) -> pa.Table:
    return to_table(data.columns, _what(view)) if isinstance(data, PlainRows) else data


def _what(view: FeatureView) -> str:
    return f"rows for view {view.name!r}"


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables as one, in one chunk: whatever looks at a column then looks at one array."""
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables).combine_chunks()


def _with_times(view: FeatureView, data: pa.Table, what: str) -> pa.Table:
    """Return rows with text for times and dates read as such; facts' times round up."""
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


class _Part(NamedTuple):
    """Rows in part.

    Attributes:
        data: they.
        keys: their key columns, as the view has them.
        lacking: the features that they lack.
    """

    data: pa.Table
    keys: pa.Table
    lacking: Sequence[str]


def _push_parts(store: Resources, view: FeatureView, together: Sequence[_Part]) -> list[Written | Exception]:
    """Take pushes in part that met, in their order; those of different entities in one step each.

    Whatever fails one step, the pushes of steps before it were taken, and are told so.
    """
    answers: list[Written | Exception] = []
    with _turn(store, view):
        for parts in _of_different_entities(together):
            try:
                answers += _push_together(store, view, _completed(store, view, parts))
            except Exception as error:  # noqa: BLE001  # each is an answer
                answers += [error] * len(parts)
    return answers


def _of_different_entities(together: Sequence[_Part]) -> list[list[_Part]]:
    """Return pushes in groups, in their order: of one group none needs to know what another one leaves."""
    if len(together) == 1:
        return [list(together)]
    groups, seen = [list[_Part]()], set[Any]()
    for part in together:
        entities = set(zip(*(column.to_pylist() for column in part.keys.columns), strict=True))
        if not entities.isdisjoint(seen):
            groups.append([])
            seen = set()
        groups[-1].append(part)
        seen |= entities
    return groups


def _completed(store: Resources, view: FeatureView, parts: Sequence[_Part]) -> list[pa.Table]:
    """Return the rows of pushes with the features that they lack as the rule has them now.

    Rows of one push lack the same features, so of several of one entity each keeps what the first keeps.
    """
    lacking = [name for name in view.written if any(name in part.lacking for part in parts)]
    keys = pa.concat_tables([part.keys for part in parts])
    found = store.offline.as_of(view, at_moment(keys, store._clock.now()), lacking)
    whole, first = list[pa.Table](), 0
    for data, _, mine in parts:
        kept = found.slice(first, data.num_rows)
        first += data.num_rows
        for name in mine:
            data = data.append_column(name, kept[name])
        whole.append(data.select([*(n for n in data.column_names if n not in view.written), *view.written]))
    return whole


@contextmanager
def _turn(store: Resources, view: FeatureView) -> Iterator[None]:
    """Wait until no other partial push to a view is between its look into history and its own rows."""
    from filelock import FileLock

    with FileLock(Path(store.directory) / f".partial-{view.storage_name}.lock"):
        yield


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
