"""Filling the online store: from history by `materialize`, from live rows by `push`."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import NotOnlineError
from fs_core.offline.contract import Watermark
from fs_core.online.codec import RowCodec
from fs_core.progress import progress

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore
    from fs_core.online.contract import OnlineStore

log = logging.getLogger("fs_core")

BATCH_ROWS = 10_000
"""Rows packed and sent at a time: bounds memory, and how long a store's script runs."""


@dataclass(frozen=True)
class Materialized:
    """What one `materialize` did for one view.

    Attributes:
        view: the view's reference with its version.
        rows: entities whose row was sent.
        applied: how many of them were newer than what the online store held.
        seconds: how long it took.
    """

    view: str
    rows: int
    applied: int
    seconds: float


def materialize(
    view: FeatureView, offline: OfflineStore, online: OnlineStore, *, until: int, rebuild: bool = False
) -> Materialized:
    """Bring one view's online rows to the moment `until` (microseconds); to rebuild, from nothing.

    What to send follows from what was *written* and what *became available* since the last time, which
    the online store itself remembers: when it is emptied, it forgets, and everything is sent again.
    Repeating is harmless, and a run that was cut off is simply repeated.

    Raises:
        NotOnlineError: the view is not declared online.
        OnlineStoreError: the store can't take the rows; nothing is marked as done.
    """
    refuse_offline(view)
    start = time.perf_counter()
    if rebuild:
        online.drop(view.storage_name)
    run = offline.winners(view, until=until, since=_read_watermark(online, view))
    rows, reached = run.rows.read_all(), run.watermark
    applied = send(view, online, rows)
    online.set_watermark(view.storage_name, json.dumps(reached.to_dict()))
    done = Materialized(view.ref, rows.num_rows, applied, time.perf_counter() - start)
    log.info("materialized %s: %d rows, %d applied, %.2f s", done.view, done.rows, done.applied, done.seconds)
    return done


def send(view: FeatureView, online: OnlineStore, rows: pa.Table) -> int:
    """Pack rows and offer them to the online store, which keeps the newest; return how many it took."""
    codec, applied = RowCodec(view), 0
    with progress(f"materialize {view.name}", rows.num_rows) as advance:
        for start in range(0, rows.num_rows, BATCH_ROWS):
            batch = rows.slice(start, BATCH_ROWS)
            applied += online.write(view.storage_name, codec.encode(batch))
            advance(batch.num_rows)
    return applied


def refuse_offline(view: FeatureView) -> None:
    """Raise `NotOnlineError` unless the view is declared online."""
    if not view.online:
        raise NotOnlineError(
            f"view {view.ref!r} is declared with online=False. Declare online=True in a new version to serve it."
        )


def _read_watermark(online: OnlineStore, view: FeatureView) -> Watermark | None:
    text = online.watermark(view.storage_name)
    if text is None:
        return None
    kept = json.loads(text)
    return Watermark(kept["snapshot"], kept["until"])
