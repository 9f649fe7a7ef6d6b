"""Writing the rows of a view with `online_history`: the latest, and beside each a timeline of those before it.

A timeline grows in the step that compares its latest row, and only if that row is the one that the writer has read
(`OnlineStore.write` with additions). Otherwise a row of somebody who keeps no timeline, such as a pusher of an earlier
version of the view, could come in between and be replaced without a trace: then the timeline would lack it, and nobody
could see that. Where a timeline doesn't tell, another floor and the latest row are added to it: from when that row is
available, all is known again. Who makes one shorter replaces the bytes that it has read, as with events.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from fs_core.definitions import FeatureView
from fs_core.online.contract import ORDER, OnlineRows, timeline_name
from fs_core.online.row.recent import Timelines

if TYPE_CHECKING:
    from fs_core.online.contract import Additions, OnlineStore

_PATIENCE = 30.0  # seconds that they may take to come
_SMALL = 2_048  # bytes: a timeline that is no longer isn't worth rewriting


def horizon(view: FeatureView, moment: int) -> int | None:
    """Return from which moment on online rows answer at a moment, microseconds; None where only the latest are kept."""
    keep = view.online_history_micros
    return None if keep is None else moment - keep


def write(view: FeatureView, online: OnlineStore, rows: OnlineRows, since: int, new: Collection[bytes] = ()) -> int:
    """Write rows, and add them to timelines; return how many entities' newest one was newer than what was there.

    Args:
        view: whose rows.
        online: the online store.
        rows: what comes, perhaps several of an entity.
        since: from which moment on timelines are to tell, microseconds.
        new: keys of entities of which these rows are all that any moment from then on may want.
    """
    timelines, name, taken = Timelines(view), view.storage_name, 0
    positions = dict[bytes, list[int]]()
    for index, key in enumerate(rows.keys):
        positions.setdefault(key, []).append(index)
    left = rows.take([max(mine, key=lambda index: rows.rows[index][ORDER]) for mine in positions.values()])
    while left:
        keys, additions = left.keys, dict[bytes, tuple[bytes, bytes]]()
        latest, kept = online.read([(name, keys), (timeline_name(name), keys)], within=_PATIENCE)
        kept = _shortened(view, online, keys, kept, since)
        for key, held, timeline in zip(keys, latest, kept, strict=True):
            mine = [rows.rows[index] for index in positions[key]]
            more = timelines.addition(key, timeline, held, mine, since, complete=key in new)
            additions[key] = (held or b"")[ORDER], more
        done = online.write(name, left, additions=additions)
        added = set(range(len(left))) if done == len(left) else _added(online, name, keys, additions)
        taken += sum(left.rows[index][ORDER] >= additions[keys[index]][0] for index in added)
        left = left.take([index for index in range(len(left)) if index not in added])
    return taken


def _added(online: OnlineStore, name: str, keys: Sequence[bytes], additions: Additions) -> set[int]:
    """Return the positions of keys whose timelines have what was to be added; others may have it, too."""
    (kept,) = online.read([(timeline_name(name), keys)], within=_PATIENCE)
    pairs = enumerate(zip([additions[key][1] for key in keys], kept, strict=True))
    return {index for index, (more, timeline) in pairs if more and more in (timeline or b"")}


def _shortened(
    view: FeatureView, online: OnlineStore, keys: Sequence[bytes], kept: Sequence[bytes | None], since: int
) -> list[bytes | None]:
    """Make timelines shorter that are long, if they lose half of their bytes; return what each is then."""
    timelines, shorter = Timelines(view), dict[int, bytes]()
    for index, (key, value) in enumerate(zip(keys, kept, strict=True)):
        if value and (len(value) >= _SMALL or timelines.parsed(key, value) is None):
            trimmed = timelines.trimmed(key, value, since)
            if 2 * len(trimmed) <= len(value):
                shorter[index] = trimmed
    replaced = _replace(view, online, keys, kept, shorter)
    return [shorter[index] if index in replaced else value for index, value in enumerate(kept)]


def _replace(
    view: FeatureView,
    online: OnlineStore,
    keys: Sequence[bytes],
    kept: Sequence[bytes | None],
    values: Mapping[int, bytes],
) -> list[int]:
    """Put values, by position, in place of timelines; return the positions of those that nobody has changed."""
    if not values:
        return []
    mine, held = [keys[index] for index in values], [kept[index] or b"" for index in values]
    lengths = online.splice(timeline_name(view.storage_name), mine, held, list(values.values()))
    return [index for index, length in zip(values, lengths, strict=True) if length >= 0]


def collect(view: FeatureView, online: OnlineStore, since: int) -> int:
    """Make every timeline shorter that can be; return how many are.

    Args:
        view: whose timelines.
        online: the online store.
        since: from which moment on they are to tell, microseconds.
    """
    timelines, count = Timelines(view), 0
    for part in online.scan(timeline_name(view.storage_name)):
        pairs = enumerate(zip(part.keys, part.rows, strict=True))
        trimmed = {index: timelines.trimmed(key, value, since) for index, (key, value) in pairs}
        shorter = {index: value for index, value in trimmed.items() if len(value) < len(part.rows[index])}
        count += len(_replace(view, online, part.keys, part.rows, shorter))
    return count
