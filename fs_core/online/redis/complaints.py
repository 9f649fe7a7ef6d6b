"""The driver's complaints in our words."""

from __future__ import annotations

from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online.redis.driver import driver


def said_as_ours(error: Exception, store: str) -> OnlineStoreError:
    """Return what a driver's error means to a caller: `OnlineUnavailableError` where waiting might help.

    Args:
        error: an exception of `redis.exceptions`, or an `OSError`.
        store: the store's name, without credentials.
    """
    errors, said = driver().exceptions, str(error).rstrip(".")
    if isinstance(error, errors.AuthenticationError | errors.AuthorizationError):
        return OnlineUnavailableError(
            f"the online store {store} refuses the credentials: {said}. Put them into its URL: redis://user:password@host."
        )
    if isinstance(error, errors.ConnectionError | errors.TimeoutError | OSError):
        return OnlineUnavailableError(
            f"the online store {store} doesn't answer: {said}. Check that it runs, or read with fallback='offline'."
        )
    if isinstance(error, errors.ClusterDownError | errors.TryAgainError):
        return OnlineUnavailableError(f"the online store {store} isn't ready: {said}. Try again in a moment.")
    if "OOM" in said or isinstance(error, errors.OutOfMemoryError):
        return OnlineStoreError(
            f"the online store {store} is out of memory and took no more rows: {said}. "
            "Raise its maxmemory, give views a ttl, or declare some online=False; then materialize again."
        )
    return OnlineStoreError(f"the online store {store} failed: {said}")
