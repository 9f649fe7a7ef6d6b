"""What some entities have online: the sizes of their keys and values, as a store would hold them now."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.materialization import events, recent
from fs_core.online.contract import OnlineRows, timeline_name
from fs_core.online.row.codec import RowCodec
from fs_core.online.sqlite import SQLiteOnlineStore
from fs_core.rule import AVAILABLE_AT

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore


class Stored(NamedTuple):
    """What some entities have online, as bytes of keys and of values.

    Attributes:
        rows: of what a read asks for.
        others: of what lies beside: timelines, and all events of entities with many.
    """

    rows: list[tuple[int, int]]
    others: list[tuple[int, int]]


def stored(view: FeatureView, offline: OfflineStore, latest: pa.Table, now: int) -> Stored:
    """Return what some entities have online.

    Rows are packed. What else belongs to an entity, events and timelines, is brought into an embedded store for it, as
    of the moment when the last of these rows was available: of an old sample nothing would be left by now.

    Args:
        view: which.
        offline: its history.
        latest: the entities' latest rows, in `history_schema(view)`.
        now: the moment, microseconds.

    Raises:
        OfflineStoreError: history can't be read.
    """
    if view.online_history is None and not view.aggregations:
        packed = RowCodec(view).encode(latest)
        return Stored(_sizes([packed]), [])
    entities, moment = latest.select(list(view.keys)), min(now, pc.max(latest[AVAILABLE_AT].cast(pa.int64())).as_py())
    with tempfile.TemporaryDirectory() as directory:
        online = SQLiteOnlineStore(Path(directory) / "online.db", project="p")
        try:
            _fill(view, offline, online, entities, moment)
            name = view.storage_name
            return Stored(_sizes(online.scan(name)), _sizes(online.scan(timeline_name(name))))
        finally:
            online.close()


def _fill(view: FeatureView, offline: OfflineStore, online: SQLiteOnlineStore, entities: pa.Table, moment: int) -> None:
    """Bring all that entities have at a moment into a store."""
    if view.aggregations:
        live = events.live(view, offline, until=moment, entities=entities).rows.read_all()
        events.merge(view, online, events.packed(view, live), moment)
        return
    since = recent.horizon(view, moment) or moment
    kept = offline.winners(view, until=moment, entities=entities, recent=since).rows.read_all()
    rows = RowCodec(view).encode(kept)
    recent.write(view, online, rows, since, new=set(rows.keys))


def _sizes(parts: Iterable[OnlineRows]) -> list[tuple[int, int]]:
    return [(len(key), len(value)) for part in parts for key, value in zip(part.keys, part.rows, strict=True)]
