"""Methods that lay history out afresh for fast search, and verify it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fs_core.definitions import FeatureView
from fs_core.store.resources import Resources

if TYPE_CHECKING:
    from fs_core.offline.report import HistoryReport

log = logging.getLogger("fs_core")


def compact(store: Resources, *views: str | FeatureView) -> None:
    """Lay the history of views out afresh for fast search, by default of every current view.

    Many small writes leave many small files. Nothing is lost: rows, states and fingerprints stay.

    Raises:
        OfflineStoreError: history can't be written.
    """
    listed = [r.definition for r in store.registry.listing("view") if r.current]
    for target in [store.view(view) for view in views] or [v for v in listed if isinstance(v, FeatureView)]:
        store.offline.compact(target)
        log.info("compacted %s", target.ref)


def verify_history(
    store: Resources, view: str | FeatureView | None = None, *, repair: bool = False, evidence: int = 100
) -> HistoryReport:
    """Look at every row and file of a view's history, or of every registered version's; return what is wrong.

    Each row is there once, files are there and whole, clocks are in order, and the search index equals the files.
    Others may append meanwhile; compactions and `forget` wait.

    Args:
        view: its reference; None means every registered version.
        repair: remove exact copies of rows, and what is wrong in the index.
        evidence: how many findings of each kind to return for a view.

    Returns:
        A report: `clean`, `problems` counted, `findings` as an Arrow table; `str()` says what to do.

    Raises:
        OfflineStoreError: history can't be read, or not be repaired.
    """
    from fs_core.offline.report import HistoryReport

    registered = [r.definition for r in store.registry.listing("view")] if view is None else [store.view(view)]
    meanings = {v.storage_name: v for v in registered if isinstance(v, FeatureView)}
    return HistoryReport.united(
        [store.offline.verify(target, repair=repair, evidence=evidence) for target in meanings.values()]
    )
