"""Connecting: settings, one client for each process, and errors in our words."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fs_core.errors import ConfigurationError, redact_url
from fs_core.online.redis.complaints import said_as_ours
from fs_core.online.redis.driver import driver, driver_errors
from fs_core.online.redis.naming import Names

if TYPE_CHECKING:
    import redis


class Connecting:
    """What reading and writing stand on."""

    def __init__(self, url: str, *, project: str, timeout: float = 1.0, connections: int = 32) -> None:
        self._names = Names(project)
        self._settings = {"url": url, "project": project, "timeout": timeout, "connections": connections}
        self._clients: dict[int, redis.Redis] = {}

    def __repr__(self) -> str:
        return f"RedisOnlineStore({self._name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self._settings)

    def close(self) -> None:
        """See `OnlineStore.close`."""
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    @cached_property
    def _name(self) -> str:
        return redact_url(str(self._settings["url"]))

    @property
    def _client(self) -> redis.Redis:
        """This process's client; a forked child opens its own connections."""
        client = self._clients.get(os.getpid())
        if client is None:
            client = self._clients.setdefault(os.getpid(), _connect(**self._settings))  # type: ignore[arg-type]
        return client

    @contextmanager
    def _said_as_ours(self) -> Iterator[None]:
        """Say the driver's complaints in our words."""
        kinds = driver_errors()
        try:
            yield
        except kinds as error:
            raise said_as_ours(error, self._name) from error


def _reopen(kind: type[Connecting], settings: dict[str, Any]) -> Connecting:
    return kind(**settings)


def _connect(url: str, project: str, timeout: float, connections: int) -> redis.Redis:
    del project
    loaded = driver()
    retry = loaded.retry.Retry(loaded.backoff.ExponentialBackoff(cap=0.1, base=0.01), 1)
    try:
        pool = loaded.BlockingConnectionPool.from_url(
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
    client: redis.Redis = loaded.Redis.from_pool(pool)  # which, unlike the constructor, closes the pool with it
    return client
