"""What the libraries raise, as errors that name the view."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa
from deltalake.exceptions import DeltaError

from fs_core.definitions import FeatureView
from fs_core.errors import OfflineStoreError
from fs_core.offline.delta.appending import reason_of
from fs_core.runtime.per_process import delta_library

_DAMAGED_LOG = (json.JSONDecodeError, UnicodeDecodeError)


@contextmanager
def as_store_error(view: FeatureView, what: str) -> Iterator[None]:
    """Turn what the libraries raise into an `OfflineStoreError` that names the view."""
    _refuse_fork(view)
    try:
        yield
    except (DeltaError, duckdb.Error, OSError, OverflowError, pa.ArrowException, *_DAMAGED_LOG) as error:
        reason = reason_of(error)
        if isinstance(error, FileNotFoundError) or "No files found" in reason:
            reason += ". Files are deleted when somebody is forgotten; if that was just now, repeat it."
        raise OfflineStoreError(f"view {view.ref!r}: {what}: {reason}") from error


def _refuse_fork(view: FeatureView) -> None:
    """Say in plain words what the Delta library would panic about."""
    if not delta_library.may_use():
        raise OfflineStoreError(
            f"view {view.ref!r}: this process was forked from one that had used history, and the Delta library "
            "doesn't survive a fork. Start the process with spawn or forkserver."
        )
