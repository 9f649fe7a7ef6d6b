"""The events of a view with windows, online: added by pushes, merged by runs, left out when no window holds them.

Every value is a set of events (`fs_core.windows.packed`), so adding one twice does no harm, and neither does the order.
Who rewrites a value replaces the bytes that it has read: if they have changed it reads again, and what
was added behind them stays.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from fs_core.definitions import FeatureView
from fs_core.errors import OfflineStoreError
from fs_core.materialization.event_values import HOT, FoundValues, codec_of, horizon, read_values, replace_values
from fs_core.online.contract import OnlineRows
from fs_core.online.row.keys import unpack_keys
from fs_core.values.times import EARLIEST

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore, Snapshot, Watermark, Winners
    from fs_core.online.contract import OnlineStore

_AT_ONCE = 200  # values that are rewritten together: some may be long
_READING_SECONDS = 5.0
_TRIES = 8
_SMALL = 2_048  # bytes: a value that is no longer isn't worth rewriting
_EAGER = 2  # a push rewrites a value after it has grown by half of it, on average

T = TypeVar("T")
Fill = Callable[[OnlineRows], int]
"""Brings rows online; returns how many values changed."""


def live(
    view: FeatureView,
    offline: OfflineStore,
    *,
    until: int,
    since: Watermark | None = None,
    snapshot: Snapshot | None = None,
    entities: pa.Table | None = None,
) -> Winners:
    """Return the events that belong online at a moment, those of an entity together.

    Args:
        view: whose events.
        offline: its history.
        until: the moment, microseconds.
        since: what an earlier run covered.
        snapshot: the state to read (default: the newest).
        entities: key columns of those wanted; None for all.

    Raises:
        OfflineStoreError: history, or the state, can't be read.
    """
    start, oldest = reach(view, until)
    return offline.winners(
        view, until=until, since=since, snapshot=snapshot, entities=entities, recent=start, happened=oldest
    )


def reach(view: FeatureView, until: int) -> tuple[int, int]:
    """Return after which availability, and after which event time, an event may belong online, microseconds.

    Args:
        view: whose events.
        until: the moment, microseconds.
    """
    start = horizon(view, until)
    spans = [feature.span for feature in codec_of(view).features]
    reaches = [None if span.length is None else span.length + (span.hop or 0) + 1 for span in spans]
    return start, EARLIEST - 1 if None in reaches else max(EARLIEST - 1, start - max(filter(None, reaches)))


def packed(view: FeatureView, rows: pa.Table) -> OnlineRows:
    """Return what must be added to the value of each entity that rows of history belong to, one for each.

    Args:
        view: whose history.
        rows: in `history_schema(view)`.
    """
    from fs_core.offline.predicates import passing

    values: dict[bytes, list[bytes]] = {}
    entries = codec_of(view).encode(rows, passing(view, rows))
    for key, entry in zip(entries.keys, entries.rows, strict=True):
        values.setdefault(key, []).append(entry)
    return OnlineRows(list(values), [b"".join(parts) for parts in values.values()])


def add(view: FeatureView, offline: OfflineStore, online: OnlineStore, rows: OnlineRows, now: int) -> int:
    """Add events to values; now and then rewrite one that has grown. Return how many values there were.

    Where there is no value yet, history may have earlier events all the same, which were written only, or which the
    store has lost: then the value becomes what history says.

    Args:
        view: whose events.
        offline: history, which has them.
        online: the online store.
        rows: what `packed` returned.
        now: the present moment, microseconds.
    """
    name = view.storage_name
    before = dict(zip(rows.keys, read_values(name, online, rows.keys), strict=True))
    old = rows.take([index for index, key in enumerate(rows.keys) if before[key]])
    lengths = online.splice(name, old.keys, [b""] * len(old), old.rows) if old else []
    grown = list(zip(old.keys, lengths, old.rows, strict=True))
    empty = [key for key, value in before.items() if not value]
    empty += [key for key, length, added in grown if length == len(added)]  # deleted in between
    restore(view, offline, online, empty, lambda: now)
    codec = codec_of(view)
    due = [
        key
        for key, length, added in grown
        if (length > _SMALL and random.random() * length < _EAGER * len(added))  # noqa: S311
        or codec.is_silent(key, (before[key] or b"") + added, now)
    ]
    for start in range(0, len(due), _AT_ONCE):
        keys = due[start : start + _AT_ONCE]
        _rewrite(view, online, OnlineRows(keys, [b""] * len(keys)), now, complete=False)
    return len(rows)


def merge(view: FeatureView, online: OnlineStore, rows: OnlineRows, until: int, *, fill: Fill | None = None) -> int:
    """Merge events into values, which tell from the horizon of a moment on then; return how many values changed.

    Args:
        view: whose events.
        online: the online store.
        rows: what `packed` returned, of all events that the values may lack.
        until: the moment, microseconds.
        fill: brings rows of those whose values have no floor, so that they may lack others as well; None where the
            rows are all there are.
    """
    changed, bare = 0, set[bytes]()
    for first in range(0, len(rows), _AT_ONCE):
        left = rows[first : first + _AT_ONCE]
        for _ in range(_TRIES):
            done, left, unsure = _rewrite(view, online, left, until, complete=fill is None)
            changed, bare = changed + done, bare.union(unsure)
            if not left:
                break
        else:  # others rewrite them all the time: what is added is right as well, only longer
            online.splice(view.storage_name, left.keys, [b""] * len(left), left.rows)
            changed += len(left)
    if fill is not None and bare:
        changed += fill(rows.take([index for index, key in enumerate(rows.keys) if key in bare]))
    return changed


def _rewrite(
    view: FeatureView, online: OnlineStore, rows: OnlineRows, moment: int, *, complete: bool
) -> tuple[int, OnlineRows, list[bytes]]:
    """Merge events into values without those that no window holds.

    Args:
        view: whose values.
        online: the online store.
        rows: what comes.
        moment: from whose horizon on values tell, microseconds.
        complete: whether they hold all events from then on now; else those without a floor stay.

    Returns:
        How many changed, what is left to do, and the keys of those that stay since they have no floor.
    """
    found, codec = FoundValues.of(view, online, rows.keys), codec_of(view)
    held, lacking = codec.decode(found.keys, found.known), np.zeros(len(rows), bool)
    if not complete:
        lacking = held.bare | np.array([not value for value in found.values], bool)
    bare = [rows.keys[index] for index in np.flatnonzero(lacking).tolist()]
    for index in held.corrupt:  # stays damaged until it is mended
        online.splice(view.storage_name, [rows.keys[index]], [b""], [rows.rows[index]])
    sound = np.flatnonzero(~lacking & ~np.isin(np.arange(len(rows)), held.corrupt)).tolist()
    rows, found = rows.take(sound), found.take(sound)
    joined = [old + new for old, new in zip(found.known, rows.rows, strict=True)]
    merged = codec.trimmed(rows.keys, joined, horizon(view, moment), complete=complete)
    values = [value or b"" for value in merged]
    busy = [
        index
        for index, (value, more) in enumerate(zip(values, rows.rows, strict=True))
        if value != found.values[index]
        and (more or found.deep[index] or len(value) < len(found.values[index]) or codec.may_hold(value, HOT))
    ]
    stays = replace_values(view, online, found.take(busy), [values[index] for index in busy], moment)
    return len(busy) - len(stays), rows.take([busy[index] for index in stays]), bare


def collect(view: FeatureView, online: OnlineStore, now: int) -> int:
    """Leave out of every value what no window holds any more, also of entities to which nothing comes.

    Args:
        view: whose values.
        online: the online store.
        now: the present moment, microseconds.

    Returns:
        How many values were rewritten.
    """
    changed = 0
    for part in online.scan(view.storage_name):
        for first in range(0, len(part), _AT_ONCE):
            keys = part.keys[first : first + _AT_ONCE]
            changed += _rewrite(view, online, OnlineRows(keys, [b""] * len(keys)), now, complete=False)[0]
    return changed


def restore(
    view: FeatureView, offline: OfflineStore, online: OnlineStore, keys: Sequence[bytes], now: Callable[[], int]
) -> OnlineRows:
    """Make values what history says, whatever they hold; return what was written.

    A value is read before history: what is pushed afterwards comes behind it, and stays. What was replaced, since it
    was forgotten perhaps, is in no log of the store either.

    Args:
        view: whose values.
        offline: history.
        online: the online store.
        keys: of the entities.
        now: returns the present moment, microseconds.
    """
    written, left, replaced = dict[bytes, bytes](), list(keys), False
    while left:
        found = FoundValues.of(view, online, left, every=True)
        until = max(now(), latest(view, left, found.known))
        expected = patiently(partial(expected_of, view, offline, left, until))
        written.update((key, expected.get(key, b"")) for key in left)
        stays = replace_values(view, online, found, [written[key] for key in left], until)
        left, replaced = [left[index] for index in stays], replaced or any(found.values) or any(found.deep)
    if replaced:
        online.delete(view.storage_name, [])
    kept = {key: value for key, value in written.items() if value}
    return OnlineRows(list(kept), list(kept.values()))


def latest(view: FeatureView, keys: Sequence[bytes], values: Sequence[bytes | None]) -> int:
    """Return the latest moment that some values speak of, microseconds: another machine's clock may be ahead.

    Args:
        view: whose values.
        keys: theirs.
        values: all that is known of each entity.
    """
    held = codec_of(view).decode(keys, values)
    return int(max(held.clocks[1].max(initial=EARLIEST), held.floors.max(initial=EARLIEST)))


def expected_of(view: FeatureView, offline: OfflineStore, keys: Sequence[bytes], until: int) -> dict[bytes, bytes]:
    """Return the value at a moment of each of some entities that history knows, by key.

    Args:
        view: whose values.
        offline: history.
        keys: of the entities; those that are none are left out.
        until: the moment, microseconds.
    """
    table, sound = unpack_keys(view.keys, keys)
    rows = live(view, offline, until=until, entities=table.filter(pa.array(sound))).rows.read_all()
    found = packed(view, rows)
    values = codec_of(view).trimmed(found.keys, found.rows, horizon(view, until))
    return {key: value for key, value in zip(found.keys, values, strict=True) if value}


def withdraw(view: FeatureView, online: OnlineStore, rows: OnlineRows) -> None:
    """Take events out of values again, and out of the store's log.

    Args:
        view: whose events.
        online: the online store.
        rows: what `packed` returned.
    """
    left = rows
    while left:
        found = FoundValues.of(view, online, left.keys, every=True)
        values = [codec_of(view).without(value, gone) for value, gone in zip(found.known, left.rows, strict=True)]
        left = left.take(replace_values(view, online, found, values, None))
    online.delete(view.storage_name, [])


def patiently(read: Callable[[], T]) -> T:
    """Read history, again where that fails: files that are being read may be deleted for somebody to be forgotten."""
    return Retrying(
        retry=retry_if_exception_type(OfflineStoreError),
        stop=stop_after_delay(_READING_SECONDS),
        wait=wait_random(0.01, 0.1),
        reraise=True,
    )(read)
