"""The online store on Redis or Valkey: one packed row for each view and entity.

A key is `fs:` project `{` entity `}` view: the braces are a hash tag, so that the rows of one entity
share a cluster slot. A row that has outlived its ttl and grace may be collected by the server. That
can't bring an older row back: an older row of the same view has an earlier event time, hence is past
its own collection as well.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

from fs_core.errors import ConfigurationError, OnlineStoreError, OnlineUnavailableError, redact_url
from fs_core.online.contract import OnlineWrite

if TYPE_CHECKING:
    import redis

_ROWS_A_CALL = 500  # bounds how long one script call holds the server
_SCAN_COUNT = 1000


class RedisOnlineStore:
    """Latest rows on a Redis or Valkey server, 6.2 or newer. See `OnlineStore` for what is promised.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with what redis-py understands in it.
        project: whose rows these are.
        timeout: seconds to wait for a connection, and for each reply.
        connections: how many connections at most; further callers wait for one.
    """

    def __init__(self, url: str, *, project: str, timeout: float = 1.0, connections: int = 32) -> None:
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
                applied += int(self._client.register_script(self._script)(keys=keys, args=args))
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
    def _script(self) -> str:
        return resources.files("fs_core.online").joinpath("compare_and_set.lua").read_text()

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
        import redis

        try:
            yield
        except (redis.AuthenticationError, redis.exceptions.AuthorizationError) as error:
            raise OnlineUnavailableError(f"the online store {self._name} refuses the credentials: {error}") from None
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            raise OnlineUnavailableError(
                f"the online store {self._name} doesn't answer: {error}. "
                "Check that it runs, or read with fallback='offline'."
            ) from None
        except redis.RedisError as error:
            raise OnlineStoreError(f"the online store {self._name} failed: {error}") from error


def _reopen(settings: dict[str, Any]) -> RedisOnlineStore:
    return RedisOnlineStore(**settings)


def _connect(url: str, project: str, timeout: float, connections: int) -> redis.Redis:
    del project
    try:
        import redis
        from redis.backoff import ExponentialBackoff
        from redis.retry import Retry
    except ImportError:
        raise ConfigurationError("serving from Redis needs the redis package: pip install 'fs-core[redis]'.") from None
    try:
        pool = redis.BlockingConnectionPool.from_url(
            url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
            max_connections=connections,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 1),
        )
    except ValueError as error:
        raise ConfigurationError(f"online URL {redact_url(url)} is not understood: {error}") from None
    return redis.Redis(connection_pool=pool)


def _tag(view: str) -> bytes:
    return hashlib.sha256(view.encode()).digest()[:8]
