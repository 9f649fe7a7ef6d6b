"""Whether another machine reaches the stores that a run needs: asked before anything is dropped or sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fs_core.definitions import FeatureView
from fs_core.errors import FeatureStoreError
from fs_core.offline.contract import EMPTY
from fs_core.values.times import LATEST

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore
    from fs_core.online.contract import OnlineStore


class Reach:
    """A history and an online store that this process reaches. A pickle holds configuration, no credentials.

    Args:
        views: at least one; the first that has a history is looked for.
        offline: history that can be read in portions.
        online: the online store.

    Raises:
        OfflineStoreError, OnlineStoreError: this process doesn't reach them.
    """

    def __init__(self, views: Sequence[FeatureView], offline: OfflineStore, online: OnlineStore) -> None:
        self._offline: Any = offline  # a `DividedHistory`, too
        self._online = online
        self._view = next((view for view in views if offline.snapshot(view) != EMPTY), views[0])
        self._snapshot = offline.snapshot(self._view)
        self._is_known = online.watermark(self._view.storage_name) is not None

    def complaints(self) -> Iterator[str]:
        """Yield what is wrong on the machine where this is called: it can't reach a store, or reaches another one."""
        try:
            if self._snapshot != EMPTY:
                self._offline.portions(self._view, until=LATEST, snapshot=self._snapshot)
            found = self._online.watermark(self._view.storage_name)
        except FeatureStoreError as error:
            yield str(error)
            return
        if self._is_known and found is None:
            yield f"It finds nothing of view {self._view.ref!r} in {self._online!r}: that must be another server there."
