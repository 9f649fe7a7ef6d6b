"""Opening the history that a URL names."""

from __future__ import annotations

from pathlib import Path

from fs_core.offline.contract import OfflineStore
from fs_core.offline.objects.path import SCHEMES, bucket_of
from fs_core.runtime.plugins import load_backend

GROUP = "fs_core.offline"
"""Entry points of this group add back-ends: the name is the URL's scheme, the value is called with
`(url, directory=...)` and returns an `OfflineStore`."""


def open_offline_store(url: str, *, directory: Path) -> OfflineStore:
    """Return the history for `delta` (Delta tables in `directory`), an object store or a plugin's scheme.

    Raises:
        ConfigurationError: nobody knows the scheme, or the directory can't be used.
    """
    if url == "delta" or url.partition("://")[0] in SCHEMES:
        from fs_core.offline.delta.store import DeltaOfflineStore
        from fs_core.offline.search.index import IndexEngine

        where = directory / "history" if url == "delta" else bucket_of(url)
        return DeltaOfflineStore(where, IndexEngine(directory / "index"))
    opened: OfflineStore = load_backend(GROUP, url, ["delta", *SCHEMES])(url, directory=directory)
    return opened
