"""Connecting: settings, one client for each process, and errors in our words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from fs_core.online.redis.complaints import said_as_ours
from fs_core.online.redis.driver import driver, driver_errors
from fs_core.online.redis.naming import Names
from fs_core.online.redis.places import Place, arguments, parse, shown

if TYPE_CHECKING:
    import redis


class Connecting:
    """What reading and writing stand on."""

    def __init__(self, url: str, *, project: str, timeout: float = 1.0, connections: int = 32) -> None:
        self._names = Names(project)
        self._settings = {"url": url, "project": project, "timeout": timeout, "connections": connections}
        self._timeout, self._connections = timeout, connections
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

    @property
    def key_patterns(self) -> tuple[str, str]:
        """Globs that match the project's rows, and all else it keeps, such as watermarks; for access control.

        Of two projects on one server the first may be the same, by a chance of 1 to 262,144: compare them where
        one's users must not reach the other's rows. The rows don't meet even then.
        """
        return self._names.patterns

    @cached_property
    def _name(self) -> str:
        return shown(str(self._settings["url"]))

    @property
    def _client(self) -> redis.Redis:
        """This process's client; a forked child opens its own connections."""
        client = self._clients.get(os.getpid())
        if client is None:
            made = _client_of(self._place, self._timeout, self._connections)
            client = self._clients.setdefault(os.getpid(), made)
        return client

    @cached_property
    def _place(self) -> Place:
        defaults = {"socket_timeout": self._timeout, "socket_connect_timeout": self._timeout}
        return parse(str(self._settings["url"]), **defaults)

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


def _client_of(place: Place, timeout: float, connections: int) -> redis.Redis:
    """Return a client for all that isn't a read, of the kind that the place asks for."""
    loaded = driver()
    retry = loaded.retry.Retry(loaded.backoff.ExponentialBackoff(cap=0.1, base=0.01), 1)
    options = {**place.options, "retry": retry}
    limits = {"max_connections": connections, "timeout": timeout}
    client: Any
    if place.kind == "cluster":
        nodes = [loaded.cluster.ClusterNode(*address) for address in place.seeds]
        client = loaded.RedisCluster(startup_nodes=nodes, **_for_clients(options))
    elif place.kind == "sentinel":
        asked = {**(place.sentinel_options or {}), "retry": retry}
        watchers = loaded.Sentinel(place.seeds, sentinel_kwargs=_for_clients(asked))
        client = watchers.master_for(
            place.service, connection_pool_class=_watched_pool(), **limits, **_for_clients(options)
        )
    else:
        kind = options["connection_class"]
        pool = loaded.BlockingConnectionPool(connection_class=kind, **limits, **arguments(place.seeds[0], options))
        client = loaded.Redis.from_pool(pool)  # which, unlike the constructor, closes the pool with it
    found: redis.Redis = client
    return found


def _for_clients(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as the driver's clients take them, which choose the class of their connections themselves."""
    secure = issubclass(options["connection_class"], driver().SSLConnection)
    given = {name: option for name, option in options.items() if name != "connection_class" and option is not None}
    return {**given, "ssl": True} if secure else given


@cache
def _watched_pool() -> type[Any]:
    """Return the class of pools that follow a watched master, and make callers wait for a connection."""
    loaded = driver()
    return type("WatchedPool", (loaded.sentinel.SentinelConnectionPool, loaded.BlockingConnectionPool), {})
