"""Taking back from the online store what was forgotten, or dropped, between reading it and sending it.

Whoever sends rows has them from history, and their entities may be forgotten before they arrive. `forget`
erases history first, then begins another generation of the view's online rows (`materialization.watermark`), then
deletes those rows. So a sender looks at the generation before its rows are in history, or read there, and again when
they have arrived. If it is the same, `forget` has its deletion before it still. If it is another, history lacks
what was erased, and the sender deletes it. Neither needs the other to wait.

A view that is dropped loses its rows and their generation at once, or the generation first. A run that finds its own
gone deletes what it has sent since it last saw it, so that no part of a run stays; what it had sent before went with
the drop. If another run has begun meanwhile, which may have sent some of the same rows, it sends them again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import FeatureStoreError
from fs_core.materialization import events
from fs_core.materialization.event_values import codec_of
from fs_core.materialization.events import patiently
from fs_core.materialization.watermark import ViewProgress, progress_of
from fs_core.online.contract import OnlineRows
from fs_core.online.row.codec import RowCodec
from fs_core.online.row.keys import unpack_keys
from fs_core.rule import EVENT_TIME, SEQ, at_moment

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore, Snapshot
    from fs_core.online.contract import OnlineStore

log = logging.getLogger("fs_core")

Ints = np.ndarray[Any, np.dtype[np.int64]]

_UNSURE = (
    "If entities were forgotten meanwhile, rows of theirs may be online, until verify_online(repair=True) or the next "
    "materialize of a run that was cut off deletes them"
)

Packed = Callable[[], Iterable[OnlineRows]]
"""Gives the rows that were sent, packed as they were; asked for only if they must be looked at."""


class Delivery:
    """Rows on their way online: made before they are in history or read there, settled after they were sent.

    Args:
        view: whose rows.
        offline: history.
        online: where they are sent.
        now: returns the present moment, microseconds.
        generation: the view's at some moment before; by default it is asked for.
        run: the run that sends, if it is one.
    """

    def __init__(
        self,
        view: FeatureView,
        offline: OfflineStore,
        online: OnlineStore,
        now: Callable[[], int],
        *,
        generation: str | None = None,
        run: ViewProgress | None = None,
    ) -> None:
        self._view, self._offline, self._online, self._now = view, offline, online, now
        self._run = run
        self.generation: str | None = generation or ViewProgress(view, online).progress.generation
        """The one that everything that was sent belongs to; None where the view was dropped since."""
        self._is_filled = True

    @contextmanager
    def settled(self, sent: Packed) -> Iterator[None]:
        """Settle what is sent meanwhile, also where sending fails: rows may have arrived all the same."""
        try:
            yield
        except BaseException as error:
            try:
                self.settle(sent)
            except FeatureStoreError as worse:
                error.add_note(f"{_UNSURE}: {worse}")
            raise
        try:
            self.settle(sent)
        except FeatureStoreError as error:
            error.add_note(f"{_UNSURE}.")
            raise

    def settle(self, sent: Packed) -> int:
        """Take back what history no longer has; return how many of the rows sent that were.

        Raises:
            OnlineStoreError, OfflineStoreError: a store doesn't answer; what had to be taken back may be online.
        """
        took, replaced, deleted = 0, list[OnlineRows](), False
        while (present := self._present()) != (self.generation, self._is_filled):
            # Before history is read: what is erased later, `forget` deletes itself, or begins another generation.
            self.generation, self._is_filled = present
            for rows in chain(sent(), tuple(replaced)):
                if not self._is_filled:
                    self._remove(rows)
                    continue
                if deleted:
                    self._write(rows)
                gone = lacking(self._view, self._offline, rows)
                if gone:
                    took += len(gone)
                    replaced.append(self._replace(gone))
            deleted = not self._is_filled
            if self._run is not None:
                self._run.clear_suspicion()
        if took:
            log.info("%s: took back %d rows that were forgotten while they were sent", self._view.ref, took)
        return took

    def _present(self) -> tuple[str | None, bool]:
        """Return the view's generation, and whether a run has begun in it, which matters to runs alone."""
        progress = progress_of(self._online, self._view)
        is_filled = self._run is None or (progress is not None and progress.is_filled)
        return None if progress is None else progress.generation, is_filled

    def _remove(self, rows: OnlineRows) -> None:
        if self._view.aggregations:
            events.withdraw(self._view, self._online, rows)
        else:
            self._online.delete(self._view.storage_name, rows.keys, rows.rows)

    def _write(self, rows: OnlineRows) -> None:
        if self._view.aggregations:
            events.restore(self._view, self._offline, self._online, rows.keys, self._now)
        else:
            self._online.write(self._view.storage_name, rows)

    def _replace(self, gone: OnlineRows) -> OnlineRows:
        """Delete rows, with their timelines, and send what wins instead: new facts may have lost to them."""
        if self._view.aggregations:
            return events.restore(self._view, self._offline, self._online, gone.keys, self._now)
        name, entities = self._view.storage_name, _entities(self._view, gone)
        self._online.delete(name, gone.keys, gone.rows)
        until = self._now()
        winners = patiently(lambda: self._offline.winners(self._view, until=until, entities=entities).rows.read_all())
        rows = RowCodec(self._view).encode(winners)
        if rows:
            self._online.write(name, rows)  # into no timeline, as after a repair
        return rows


def lacking(view: FeatureView, offline: OfflineStore, rows: OnlineRows) -> OnlineRows:
    """Return those of some sound rows that history doesn't have; of a view with windows, values with such an event.

    Args:
        view: whose rows.
        offline: its history.
        rows: as the online store has them.
    """
    if not rows:
        return rows
    codes, available_at, seq = _numbers_of(view, rows)
    first, last = int(available_at.min()), int(available_at.max())
    entities = _entities(view, rows)

    def seqs() -> list[pa.Array]:
        found = offline.winners(view, until=last, entities=entities, recent=first - 1)
        return [batch.column(SEQ) for batch in found.rows]

    known = pa.chunked_array(patiently(seqs), pa.int64()).to_numpy()
    return rows.take(np.unique(codes[~np.isin(seq, known)]).tolist())


def _numbers_of(view: FeatureView, rows: OnlineRows) -> tuple[Ints, Ints, Ints]:
    """Return of each row, or each event in values, the place that it comes from, its availability and its seq."""
    if view.aggregations:
        held = codec_of(view).decode(rows.keys, rows.rows)
        return held.codes, *held.clocks[1:]
    decoded = RowCodec(view).decode(rows.keys, rows.rows)
    return np.arange(len(rows)), decoded.available_at, decoded.seq


def knows(
    view: FeatureView, offline: OfflineStore, entities: pa.Table, moment: int, snapshot: Snapshot | None = None
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which entities have a winner at a moment in history, or in a state of it, expired or not.

    Args:
        view: whose history.
        offline: where it is kept.
        entities: key columns, in the view's types.
        moment: microseconds since 1970-01-01 UTC.
        snapshot: the state to read (default: the newest).
    """
    found = offline.as_of(view, at_moment(entities, moment), [], snapshot=snapshot)
    return np.asarray(found[EVENT_TIME].is_valid().to_numpy(), dtype=bool)


def _entities(view: FeatureView, rows: OnlineRows) -> pa.Table:
    return unpack_keys(view.keys, list(dict.fromkeys(rows.keys)))[0]
