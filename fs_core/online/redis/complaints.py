"""The driver's complaints in our words."""

from __future__ import annotations

from fs_core.errors import DeadlineExceededError, OnlineStoreError, OnlineUnavailableError
from fs_core.online.redis.driver import driver


def said_as_ours(error: Exception, store: str, *, part: str = "", late: bool = False) -> OnlineStoreError:
    """Return what a driver's error means to a caller: `OnlineUnavailableError` where waiting might help.

    Args:
        error: an exception of `redis.exceptions`, or an `OSError`.
        store: the store's name, without credentials.
        part: which of several servers it was, such as `"node 10.0.0.1:6379"`.
        late: whether the caller's deadline has come.
    """
    errors, said = driver().exceptions, str(error).rstrip(".")
    store = f"{store}: its {part}" if part else store
    if isinstance(error, errors.AuthenticationError | errors.AuthorizationError):
        return OnlineUnavailableError(
            f"the online store {store} refuses the credentials: {said}. Put them into its URL: redis://user:password@host."
        )
    if isinstance(error, errors.TimeoutError) and late:
        return DeadlineExceededError(
            f"the online store {store} didn't answer within the read's deadline: {said}. Allow more time (deadline=), "
            "or pass on_deadline='missing' or fallback='offline'."
        )
    if isinstance(error, errors.ConnectionError | errors.TimeoutError | OSError):
        return OnlineUnavailableError(
            f"the online store {store} doesn't answer: {said}. Check that it runs, or read with fallback='offline'."
        )
    if isinstance(error, errors.MovedError | errors.ClusterCrossSlotError) and not part:
        return OnlineStoreError(
            f"the online store {store} is a node of a cluster: {said}. Write its URL as redis+cluster://host:port."
        )
    if isinstance(error, errors.ClusterDownError | errors.TryAgainError | errors.MovedError | errors.AskError):
        return OnlineUnavailableError(f"the online store {store} isn't ready: {said}. Try again in a moment.")
    if "OOM" in said or isinstance(error, errors.OutOfMemoryError):
        return OnlineStoreError(
            f"the online store {store} is out of memory and took no more rows: {said}. "
            "Raise its maxmemory, give views a ttl, or declare some online=False; then materialize again."
        )
    return OnlineStoreError(f"the online store {store} failed: {said}")
