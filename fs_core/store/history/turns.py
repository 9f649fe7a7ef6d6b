"""Who looks what a history lacks and then adds it takes turns with others, so that none adds what another has added."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from fs_core.definitions import FeatureView
from fs_core.store.resources import Resources


def in_turn(store: Resources, view: FeatureView) -> AbstractContextManager[None]:
    """Be the only one, in any process, who adds what a view's history lacks, if the history can see to that.

    Raises:
        OfflineStoreError: another takes too long, or the history can't be locked.
    """
    from fs_core.offline.contract import ComparedHistory

    return store.offline.comparing(view) if isinstance(store.offline, ComparedHistory) else nullcontext()
