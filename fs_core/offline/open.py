"""Opening the history that a URL names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fs_core.offline.contract import OfflineStore
from fs_core.offline.objects.path import SCHEMES, bucket_named, bucket_of
from fs_core.runtime.plugins import load_backend

GROUP = "fs_core.offline"
"""Entry points of this group add back-ends: the name is the URL's scheme, the value is called with
`(url, directory=...)` and returns an `OfflineStore`."""


def refuse_url(url: str) -> None:
    """Raise `ConfigurationError` for a URL of an object store that can't be opened anywhere; nothing is opened."""
    if url.partition("://")[0].lower() in SCHEMES:
        bucket_named(url)


def open_offline_store(
    url: str, *, directory: Path, cache: Path | None = None, room: int | None = None
) -> OfflineStore:
    """Return the history for `delta` (Delta tables in `directory`), an object store or a plugin's scheme.

    Args:
        url: the setting.
        directory: the store's.
        cache: a directory for the index, shared with other stores; None for one in the store's directory.
        room: bytes that the index may take; None for any.

    Raises:
        ConfigurationError: nobody knows the scheme, or the directory can't be used.
    """
    if url == "delta" or url.partition("://")[0].lower() in SCHEMES:
        from fs_core.offline.delta.store import DeltaOfflineStore
        from fs_core.offline.search.index import IndexEngine

        where = directory / "history" if url == "delta" else bucket_of(url)
        mine = directory / "index" if cache is None else cache / hashlib.sha256(str(where).encode()).hexdigest()[:16]
        return DeltaOfflineStore(where, IndexEngine(mine, room))
    opened: OfflineStore = load_backend(GROUP, url, ["delta", *SCHEMES])(url, directory=directory)
    return opened
