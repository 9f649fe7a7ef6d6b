"""The online store as a run writes to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from fs_core.definitions import FeatureView
from fs_core.errors import OfflineStoreError
from fs_core.materialization import events, recent
from fs_core.materialization.retract import knows
from fs_core.materialization.watermark import Progress
from fs_core.online.contract import OnlineRows
from fs_core.online.row.keys import unpack_keys

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore, Watermark
    from fs_core.online.contract import OnlineStore

Offer = Callable[[OnlineRows], int]
"""Offers packed rows to the online store; returns how many it took."""


class RunWriter:
    """What a run sends becomes rows, rows with timelines, or values of events, as the view wants it.

    Args:
        view: whose rows.
        offline: history.
        online: the online store.
        progress: where the run stands.
        now: returns the present moment, microseconds.
    """

    def __init__(
        self,
        view: FeatureView,
        offline: OfflineStore,
        online: OnlineStore,
        progress: Progress,
        now: Callable[[], int],
    ) -> None:
        assert progress.run is not None
        self._view, self._offline, self._online, self._now = view, offline, online, now
        self._until, self._since = progress.run.until, progress.reached
        self._horizon = recent.horizon(view, self._until)

    def offer(self, keys: Sequence[bytes]) -> Offer:
        """Return what offers the rows of some keys to the online store.

        Where recent rows are kept, a run brings all of them of the entities that history didn't know when the last
        one ended, but of the others what is new. Should the store have lost one of those, what else it had isn't
        known.
        """
        view, online = self._view, self._online
        if view.aggregations:
            fill = None if self._since is None else self._fill
            return partial(events.merge, view, online, until=self._until, fill=fill)
        if self._horizon is None:
            return partial(online.write, view.storage_name)
        known = np.zeros(len(keys), bool) if self._since is None else self._known(keys, self._since)
        new = set(compress(keys, ~known))
        return partial(recent.write, view, online, since=self._horizon, new=new)

    def _fill(self, rows: OnlineRows) -> int:
        """Bring events to values that have no floor: those of new entities, the others as history has them.

        An entity that history knew when the last run ended had a value then, which the store has lost.
        """
        assert self._since is not None
        known = self._known(rows.keys, self._since)
        new, lost = rows.take(np.flatnonzero(~known).tolist()), rows.take(np.flatnonzero(known).tolist())
        events.restore(self._view, self._offline, self._online, lost.keys, self._now)
        return len(lost) + events.merge(self._view, self._online, new, self._until)

    def _known(self, keys: Sequence[bytes], since: Watermark) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return of which keys the entities may have been online at the end of an earlier run."""
        entities = unpack_keys(self._view.keys, keys)[0]
        try:
            return knows(self._view, self._offline, entities, since.until, since.snapshot)
        except OfflineStoreError:  # that state is no longer kept
            return np.ones(len(keys), dtype=bool)
