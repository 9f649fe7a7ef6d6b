"""What some entities have online: the sizes of their keys and values, as a store would hold them now."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.materialization import events, recent
from fs_core.online.contract import timeline_name
from fs_core.online.row.codec import RowCodec
from fs_core.online.sqlite import SQLiteOnlineStore

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore


def stored(view: FeatureView, offline: OfflineStore, latest: pa.Table, now: int) -> list[tuple[int, int]]:
    """Return the bytes of the key and of the value of each that some entities have.

    Rows are packed. What else belongs to an entity, events and timelines, is brought into an embedded store for it.

    Args:
        view: which.
        offline: its history.
        latest: the entities' latest rows, in `history_schema(view)`.
        now: the moment, microseconds.

    Raises:
        OfflineStoreError: history can't be read.
    """
    since = recent.horizon(view, now)
    if since is None and not view.aggregations:
        packed = RowCodec(view).encode(latest)
        return _sizes(packed.keys, packed.rows)
    entities = latest.select(list(view.keys))
    with tempfile.TemporaryDirectory() as directory:
        online = SQLiteOnlineStore(Path(directory) / "online.db", project="p")
        try:
            if view.aggregations:
                live = events.live(view, offline, until=now, entities=entities).rows.read_all()
                events.merge(view, online, events.packed(view, live), now)
            else:
                rows = RowCodec(view).encode(
                    offline.winners(view, until=now, entities=entities, recent=since).rows.read_all()
                )
                recent.write(view, online, rows, since or 0, new=set(rows.keys))
            names = view.storage_name, timeline_name(view.storage_name)
            parts = [part for name in names for part in online.scan(name)]
        finally:
            online.close()
    return [size for part in parts for size in _sizes(part.keys, part.rows)]


def _sizes(keys: Sequence[bytes], values: Sequence[bytes]) -> list[tuple[int, int]]:
    return [(len(key), len(value)) for key, value in zip(keys, values, strict=True)]
