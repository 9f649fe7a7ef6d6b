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
    """Views and stores that this process reaches. A pickle holds definitions and configuration, no credentials.

    Args:
        views: whose rows.
        offline: history that can be read in portions.
        online: the online store.

    Raises:
        OfflineStoreError, OnlineStoreError: this process doesn't reach them.
    """

    def __init__(self, views: Sequence[FeatureView], offline: OfflineStore, online: OnlineStore) -> None:
        self._offline: Any = offline  # a `DividedHistory`, too
        self._online = online
        self._seen = [(view, offline.snapshot(view), online.watermark(view.storage_name)) for view in views]

    def complaints(self) -> Iterator[str]:
        """Yield what is wrong on the machine where this is called: it can't reach a store, or reaches another one."""
        for view, snapshot, watermark in self._seen:
            try:
                if snapshot != EMPTY:
                    self._offline.portions(view, until=LATEST, snapshot=snapshot)
                found = self._online.watermark(view.storage_name)
            except FeatureStoreError as error:
                yield str(error)
                return
            if watermark is not None and found is None:
                yield f"It finds nothing of view {view.ref!r} in {self._online!r}, which must be another server there."
