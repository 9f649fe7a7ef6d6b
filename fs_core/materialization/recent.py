"""Writing the rows of a view with `online_history`: the latest, and beside each a timeline of those before it.

A timeline grows in the step that compares its latest row, and only if that row is the one that the writer has read
(`OnlineStore.write` with additions). Otherwise a row of somebody who keeps no timeline, such as a pusher of an earlier
version of the view, could come in between and be replaced without a trace: then the timeline would lack it, and nobody
could see that. Where a timeline doesn't tell, another floor and the latest row are added to it: from when that row is
available, all is known again. Who makes one shorter replaces the bytes that it has read, as with events.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from fs_core.definitions import FeatureView
from fs_core.online.contract import ORDER, OnlineRows, timeline_name
from fs_core.online.row.recent import Timelines, moment_word

if TYPE_CHECKING:
    from fs_core.online.contract import Additions, OnlineStore

_AT_ONCE = 200  # timelines that are shortened together: some may be long
_PATIENCE = 30.0  # seconds that they may take to come
_SMALL = 2_048  # bytes: a timeline that is no longer isn't worth rewriting


def horizon(view: FeatureView, moment: int) -> int | None:
    """Return from which moment on online rows answer at a moment, microseconds; None where only the latest are kept."""
    keep = view.online_history_micros
    return None if keep is None else moment - keep


def write(
    view: FeatureView, online: OnlineStore, rows: OnlineRows, since: int, new: Collection[bytes] | None = None
) -> int:
    """Write rows, and add them to timelines; return how many entities' newest one was newer than what was there.

    Args:
        view: whose rows.
        online: the online store.
        rows: what comes, perhaps several of an entity.
        since: from which moment on timelines are to tell, microseconds.
        new: where the rows are all that history has anew for moments from then on, keys of entities that it didn't
            know before; None where they are pushed.
    """
    timelines, name, taken = Timelines(view), view.storage_name, 0
    left, coming = _by_entity(rows)
    while left:
        keys = left.keys
        latest, kept = online.read([(name, keys), (timeline_name(name), keys)], within=_PATIENCE)
        kept = _shortened(view, online, keys, kept, since)
        additions: dict[bytes, tuple[bytes, bytes]] = {}
        for key, held, timeline in zip(keys, latest, kept, strict=True):
            complete = new is not None and key in new
            more = timelines.addition(key, timeline, held, coming[key], since, complete=complete)
            if more and new is not None:  # what nobody asks for now may have come to history as well, and stays there
                more += timelines.floor(key, moment_word(since))
            additions[key] = (held or b"")[ORDER], more
        done = online.write(name, left, additions=additions)
        added = set(range(len(left))) if done == len(left) else _added(online, name, keys, additions)
        taken += sum(left.rows[index][ORDER] >= additions[keys[index]][0] for index in added)
        left = left.take([index for index in range(len(left)) if index not in added])
    return taken


def _by_entity(rows: OnlineRows) -> tuple[OnlineRows, dict[bytes, list[bytes]]]:
    """Return the newest row of each entity, and all of each, by key."""
    newest, coming = dict[bytes, int](), dict[bytes, list[bytes]]()
    for index, (key, row) in enumerate(zip(rows.keys, rows.rows, strict=True)):
        coming.setdefault(key, []).append(row)
        if key not in newest or row[ORDER] >= rows.rows[newest[key]][ORDER]:
            newest[key] = index
    return rows.take(list(newest.values())), coming


def _added(online: OnlineStore, name: str, keys: Sequence[bytes], additions: Additions) -> set[int]:
    """Return the positions of keys whose timelines have what was to be added; others may have it, too."""
    (kept,) = online.read([(timeline_name(name), keys)], within=_PATIENCE)
    pairs = enumerate(zip([additions[key][1] for key in keys], kept, strict=True))
    return {index for index, (more, timeline) in pairs if more and more in (timeline or b"")}


def _shortened(
    view: FeatureView,
    online: OnlineStore,
    keys: Sequence[bytes],
    kept: Sequence[bytes | None],
    since: int,
    *,
    least: int = _SMALL,
    share: float = 0.5,
) -> list[bytes | None]:
    """Make long timelines shorter, and damaged ones go; return what they are then.

    Args:
        view: whose timelines.
        online: the online store.
        keys: the entities.
        kept: their timelines.
        since: from which moment on they are to tell, microseconds.
        least: how many bytes a long one has.
        share: of its bytes, which are less afterwards, or it stays.
    """
    timelines, values, shorter = Timelines(view), list(kept), dict[int, bytes]()
    for index, (key, value) in enumerate(zip(keys, kept, strict=True)):
        if value and (len(value) >= least or timelines.parsed(key, value) is None):
            trimmed = timelines.trimmed(key, value, since)
            if len(trimmed) < share * len(value):
                shorter[index] = trimmed
    if shorter:
        name, mine = timeline_name(view.storage_name), [keys[index] for index in shorter]
        lengths = online.splice(name, mine, [kept[index] or b"" for index in shorter], list(shorter.values()))
        for (index, trimmed), length in zip(shorter.items(), lengths, strict=True):
            values[index] = values[index] if length < 0 else trimmed
    return values


def collect(view: FeatureView, online: OnlineStore, since: int) -> int:
    """Make every timeline shorter that can be; return how many are.

    Args:
        view: whose timelines.
        online: the online store.
        since: from which moment on they are to tell, microseconds.
    """
    shorter = 0
    for part in online.scan(timeline_name(view.storage_name)):
        for first in range(0, len(part), _AT_ONCE):
            keys, held = part.keys[first : first + _AT_ONCE], part.rows[first : first + _AT_ONCE]
            values = _shortened(view, online, keys, held, since, least=0, share=1.0)
            shorter += sum(value != old for value, old in zip(values, held, strict=True))
    return shorter
