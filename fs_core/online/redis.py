"""The online store on Redis or Valkey: one packed row for each view and entity.

A key is `fs:` project `{k` entity `}` view (8 bytes of a hash): the braces are a hash tag, so that the
rows of one entity share a cluster slot.

Collection. A row carries the moment from which the server may forget it. What is forgotten shadows
nothing and brings nothing back, even if that moment is past when the row arrives (the server then
drops it at once, with the row it replaced): within a view that moment grows with the event time, so
whatever the row beat, then or later, is past its own moment as well.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

from fs_core.errors import ConfigurationError, OnlineStoreError, OnlineUnavailableError, redact_url
from fs_core.online.contract import OnlineWrite

if TYPE_CHECKING:
    import redis
    from redis.commands.core import Script

_ROWS_A_CALL = 500  # bounds how long one script call holds the server
_SCAN_COUNT = 1000
_PROJECT = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # no brace to end a hash tag, no star to match another's keys


class RedisOnlineStore:
    """Latest rows on a Redis or Valkey server, 6.2 or newer. See `OnlineStore` for what is promised.

    The server should run with `maxmemory-policy noeviction`: one that evicts rows may keep the
    watermark, and then nobody knows that they are gone.

    Args:
        url: `redis://`, `rediss://`, `unix://`, `valkey://` or `valkeys://`, with the options that
            redis-py reads from it.
        project: whose rows these are: letters, digits, `_`, `.` and `-`, 64 at most.
        timeout: seconds to wait for a connection, and for each reply. A command is tried twice.
        connections: how many connections at most; further callers wait for one.

    Raises:
        ConfigurationError: the project's name can't be used.
    """

    def __init__(self, url: str, *, project: str, timeout: float = 1.0, connections: int = 32) -> None:
        if not _PROJECT.fullmatch(project):
            raise ConfigurationError(
                f"project {project!r} can't be part of a Redis key: use letters, digits, '_', '.' and '-', 64 at most."
            )
        self._settings = {"url": url, "project": project, "timeout": timeout, "connections": connections}
        self._prefix = f"fs:{project}".encode()
        self._clients: dict[int, redis.Redis] = {}

    def __repr__(self) -> str:
        return f"RedisOnlineStore({self._name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (self._settings,))

    def write(self, view: str, rows: Sequence[OnlineWrite]) -> int:
        """See `OnlineStore.write`."""
        tag, applied = _tag(view), 0
        with self._said_as_ours():
            for start in range(0, len(rows), _ROWS_A_CALL):
                part = rows[start : start + _ROWS_A_CALL]
                keys = [self._key(w.key, tag) for w in part]
                args = [arg for w in part for arg in (w.row, "" if w.collect_at is None else w.collect_at)]
                applied += int(self._script(keys=keys, args=args, client=self._client))
        return applied

    def read(self, requests: Sequence[tuple[str, Sequence[bytes]]]) -> list[list[bytes | None]]:
        """See `OnlineStore.read`."""
        names = [self._key(key, tag) for view, keys in requests for tag in [_tag(view)] for key in keys]
        with self._said_as_ours():
            found: list[bytes | None] = self._client.mget(names) if names else []  # type: ignore[assignment]
        rows = iter(found)
        return [[next(rows) for _ in keys] for _, keys in requests]

    def watermark(self, view: str) -> str | None:
        """See `OnlineStore.watermark`."""
        with self._said_as_ours():
            found: bytes | None = self._client.get(self._watermark_key(view))  # type: ignore[assignment]
        return None if found is None else found.decode()

    def set_watermark(self, view: str, text: str) -> None:
        """See `OnlineStore.set_watermark`."""
        with self._said_as_ours():
            self._client.set(self._watermark_key(view), text)

    def drop(self, view: str) -> int:
        """See `OnlineStore.drop`."""
        tag, dropped = _tag(view), 0
        with self._said_as_ours():
            self._client.unlink(self._watermark_key(view))
            batch: list[bytes] = []
            for key in self._client.scan_iter(match=self._prefix + b"{*", count=_SCAN_COUNT):
                batch += [key] if key.endswith(b"}" + tag) else []
                if len(batch) >= _SCAN_COUNT:
                    dropped += int(self._client.unlink(*batch))
                    batch = []
            return dropped + (int(self._client.unlink(*batch)) if batch else 0)

    def close(self) -> None:
        """See `OnlineStore.close`."""
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    @cached_property
    def _name(self) -> str:
        return redact_url(str(self._settings["url"]))

    @cached_property
    def _script(self) -> Script:
        return self._client.register_script(_compare_and_set())

    @property
    def _client(self) -> redis.Redis:
        """This process's client; a forked child opens its own connections."""
        client = self._clients.get(os.getpid())
        if client is None:
            client = self._clients.setdefault(os.getpid(), _connect(**self._settings))  # type: ignore[arg-type]
        return client

    def _key(self, key: bytes, tag: bytes) -> bytes:
        # The 'k' keeps the hash tag from ever being empty; an empty one would not count as a tag.
        return self._prefix + b"{k" + key + b"}" + tag

    def _watermark_key(self, view: str) -> bytes:
        return self._prefix + b":watermark:" + view.encode()

    @contextmanager
    def _said_as_ours(self) -> Iterator[None]:
        """Say the driver's complaints in our words."""
        kinds = _driver_errors()
        try:
            yield
        except kinds as error:
            raise said_as_ours(error, self._name) from error


def said_as_ours(error: Exception, store: str) -> OnlineStoreError:
    """Return what a driver's error means to a caller: `OnlineUnavailableError` where waiting might help.

    Args:
        error: an exception of `redis.exceptions`, or an `OSError`.
        store: the store's name, without credentials.
    """
    errors, said = _driver().exceptions, str(error).rstrip(".")
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


def _reopen(settings: dict[str, Any]) -> RedisOnlineStore:
    return RedisOnlineStore(**settings)


def _driver() -> Any:
    try:
        import redis
    except ImportError:
        raise ConfigurationError("serving from Redis needs the redis package: pip install 'fs-core[redis]'.") from None
    return redis


@cache
def _driver_errors() -> tuple[type[Exception], ...]:
    """Return what the driver raises: `OSError`, and every exception it defines (not all are `RedisError`s)."""
    kinds = vars(_driver().exceptions).values()
    return OSError, *(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))


@cache
def _compare_and_set() -> str:
    return resources.files("fs_core.online").joinpath("compare_and_set.lua").read_text()


def _connect(url: str, project: str, timeout: float, connections: int) -> redis.Redis:
    del project
    driver = _driver()
    retry = driver.retry.Retry(driver.backoff.ExponentialBackoff(cap=0.1, base=0.01), 1)
    try:
        pool = driver.BlockingConnectionPool.from_url(
            re.sub("^valkey", "redis", url, flags=re.IGNORECASE),
            max_connections=connections,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=retry,
        )
        pool.connection_kwargs["decode_responses"] = False  # rows are bytes, whatever the URL says
        pool.connection_class(**pool.connection_kwargs)  # connects to nothing, but reads the options
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"online URL {redact_url(url)} is not understood: {error}.") from None
    client: redis.Redis = driver.Redis.from_pool(pool)  # which, unlike the constructor, closes the pool with it
    return client


def _tag(view: str) -> bytes:
    return hashlib.sha256(view.encode()).digest()[:8]
