"""What the libraries raise or can't do, as errors that name whose table it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa
from deltalake.exceptions import DeltaError

from fs_core.definitions import FeatureView
from fs_core.errors import ConfigurationError, OfflineStoreError
from fs_core.offline.delta.appending import reason_of
from fs_core.offline.objects.path import Location
from fs_core.runtime.per_process import delta_library

_UNUSABLE = set("[]^|%\\")  # the Delta library fails on these, or writes to another directory
_DAMAGED_LOG = (json.JSONDecodeError, UnicodeDecodeError)


def refuse_unusable(what: str, directory: Location) -> None:
    """Raise `ConfigurationError` for a directory below which Delta tables don't work.

    Args:
        what: what was to lie there.
        directory: an absolute path, or a URL.
    """
    unusable = "".join(sorted(_UNUSABLE & set(str(directory))))
    if unusable:
        raise ConfigurationError(
            f"{what} can't lie under {str(directory)!r}: Delta tables don't work below a directory with {unusable!r} "
            "in its name. Choose another directory."
        )


def refuse_fork(what: str) -> None:
    """Raise `OfflineStoreError` where the Delta library would panic: in a fork of a process that had used it."""
    if not delta_library.may_use():
        raise OfflineStoreError(
            f"{what}: this process was forked from one that had used Delta tables, and their library doesn't survive a "
            "fork. Start the process with spawn or forkserver, or fork before tables are used."
        )


@contextmanager
def as_store_error(of: FeatureView | str, what: str) -> Iterator[None]:
    """Turn what the libraries raise into an `OfflineStoreError` that names whose table it is.

    Args:
        of: the view whose history, or the table's name.
        what: what can't be done.
    """
    named = of if isinstance(of, str) else f"view {of.ref!r}"
    refuse_fork(named)
    try:
        yield
    except (DeltaError, duckdb.Error, OSError, OverflowError, pa.ArrowException, *_DAMAGED_LOG) as error:
        reason = reason_of(error)
        if isinstance(error, FileNotFoundError) or "No files found" in reason:
            reason += ". Files are deleted when somebody is forgotten; if that was just now, repeat it."
        raise OfflineStoreError(f"{named}: {what}: {reason}") from error
