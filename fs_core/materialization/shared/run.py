"""One run of a view by many machines: they find winners in portions of history, then each sends those of some entities.

What a portion says wins is packed as it goes online, so that bytes alone travel between machines. Who gets all that was
found of an entity picks, and offers it as any run does: compared and set in the store, so a task may be done twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.materialization import events, recent
from fs_core.materialization.materialize import packed_rows, tables
from fs_core.materialization.retract import Delivery
from fs_core.materialization.run_writer import RunWriter
from fs_core.materialization.watermark import Progress, ViewProgress, lost, progress_of
from fs_core.offline.contract import DividedHistory
from fs_core.online.contract import AVAILABLE, ORDER, OnlineRows
from fs_core.values.times import Clock

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore
    from fs_core.online.contract import OnlineStore

_COUNT = 1 << 63  # makes the bytes of a moment compare as moments do

FOUND = pa.schema([("key", pa.binary()), ("row", pa.binary()), ("collect_at", pa.int64()), ("events", pa.int64())])
"""What a portion gives: the entity's key, a packed row, when the store may collect it, milliseconds; and how many
events of history that is, told once a batch."""

GATHERED = pa.schema([("key", pa.binary()), ("rows", pa.list_(pa.binary())), *list(FOUND)[2:]])
"""What of an entity is brought together: the rows, the latest moment, and the sum."""

SENT = pa.schema([("rows", pa.int64()), ("applied", pa.int64())])
"""What a task says in the end, as `Materialized` does."""


@dataclass(frozen=True)
class SharedRun:
    """A run as each machine knows it. A pickle holds definitions and configuration, no credentials.

    Attributes:
        view: whose rows.
        offline: history.
        online: the online store.
        progress: where the run stands.
    """

    view: FeatureView
    offline: OfflineStore
    online: OnlineStore
    progress: Progress

    def found(self, portion: Any) -> Iterator[pa.RecordBatch]:
        """Yield what wins in a portion of history, in `FOUND`.

        Raises:
            OfflineStoreError: this machine can't read it.
        """
        assert isinstance(self.offline, DividedHistory)
        assert self.progress.run is not None
        until, after = self.progress.run.until, None if self.view.aggregations else self.progress.after
        horizon, happened = recent.horizon(self.view, until), None
        if self.view.aggregations:
            horizon, happened = events.reach(self.view, until)
        for part in tables(self.offline.winners_in(portion, after=after, recent=horizon, happened=happened)):
            rows = packed_rows(self.view, part)
            counts = [part.num_rows, *[0] * len(rows)][: len(rows)]
            columns = rows.keys, rows.rows, rows.collect_at or [None] * len(rows), counts
            arrays = [pa.array(column, field.type) for column, field in zip(columns, FOUND, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=FOUND)

    def sent(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Send what was found of some entities, given in `GATHERED`; yield one row in `SENT`.

        Raises:
            OnlineStoreError: the store can't take it, or entities were forgotten or the view dropped meanwhile.
        """
        rows = applied = 0
        for part in tables(batches):
            chosen = self._chosen(part)
            applied += self._send(chosen)
            rows += sum(part["events"].to_pylist()) if self.view.aggregations else len(chosen)
        yield pa.RecordBatch.from_arrays([pa.array([rows]), pa.array([applied])], schema=SENT)

    def _chosen(self, part: pa.Table) -> OnlineRows:
        """Return what of all that portions found goes online: what one history would have said."""
        keys, found = part["key"].to_pylist(), part["rows"].to_pylist()
        if self.view.aggregations:
            return OnlineRows(keys, [b"".join(entries) for entries in found])
        assert self.progress.run is not None
        horizon = recent.horizon(self.view, self.progress.run.until)
        chosen = [_needed(rows, horizon) for rows in found]
        moments = [moment for moment, rows in zip(part["collect_at"].to_pylist(), chosen, strict=True) for _ in rows]
        return OnlineRows(
            [key for key, rows in zip(keys, chosen, strict=True) for _ in rows],
            [row for rows in chosen for row in rows],
            moments if any(moments) else None,
        )

    def _send(self, rows: OnlineRows) -> int:
        """Offer rows, and take back what was forgotten meanwhile; return how many were applied."""
        generation, now = self.progress.generation, self._now
        held = progress_of(self.online, self.view)
        if held is None or held.generation != generation:
            raise lost(self.view)
        kept = ViewProgress(self.view, self.online)
        delivery = Delivery(self.view, self.offline, self.online, now, generation=generation, run=kept)
        offer = RunWriter(self.view, self.offline, self.online, self.progress, now).offer(rows.keys)
        with delivery.settled(lambda: [rows]):
            applied = offer(rows)
        if delivery.generation != generation:
            raise lost(self.view)
        return applied

    def _now(self) -> int:
        assert self.progress.run is not None
        return max(Clock().now(), self.progress.run.until)  # this machine's clock may be behind


def _needed(rows: Sequence[bytes], horizon: int | None) -> list[bytes]:
    """Return an entity's winner; where recent rows are kept, those after the horizon and the winner at it, by seq."""
    if horizon is None:
        return [max(rows, key=_order)]
    border = (horizon + _COUNT).to_bytes(8, "big")
    later = [row for row in rows if row[AVAILABLE] > border]
    earlier = [row for row in rows if row[AVAILABLE] <= border]
    return sorted([*([max(earlier, key=_order)] if earlier else []), *later], key=_seq)


def _order(row: bytes) -> bytes:
    return row[ORDER]


def _seq(row: bytes) -> bytes:
    return row[ORDER][16:]
