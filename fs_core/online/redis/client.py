"""The clients and pools that redis-py makes for us."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from fs_core.online.redis.errors import driver
from fs_core.online.redis.url import Address, RedisURL

if TYPE_CHECKING:
    import redis


def open_client(url: RedisURL) -> redis.Redis:
    """Return a client for all that isn't a read: of one server, of a watched master, or of a cluster."""
    package = driver()
    retry = _tries(2)
    limits = {"max_connections": url.connections, "timeout": url.timeout}
    client: Any
    if url.kind == "cluster":
        nodes = [package.cluster.ClusterNode(*address) for address in url.seeds]
        options = {**_for_clients(url.options), "require_full_coverage": False}
        client = package.RedisCluster(startup_nodes=nodes, retry=retry, **options)
    elif url.kind == "sentinel":
        client = open_sentinel(url, tries=2).master_for(
            url.service, connection_pool_class=_watched_pool(), retry=retry, **limits, **_for_clients(url.options)
        )
    else:
        pool = package.BlockingConnectionPool(retry=retry, **limits, **url.connecting_to(url.seeds[0]))
        client = package.Redis.from_pool(pool)  # which, unlike the constructor, closes the pool with it
    found: redis.Redis = client
    return found


def open_sentinel(url: RedisURL, *, tries: int) -> Any:
    """Return a client of the Sentinels that a URL names, which tries each so many times."""
    asked = {**(url.sentinel_options or {}), "retry": _tries(tries)}
    return driver().Sentinel(url.seeds, sentinel_kwargs=_for_clients(asked))


def open_cluster_nodes(url: RedisURL, asked: list[Address]) -> Any:
    """Return what the driver's cluster client knows of nodes and slots, by asking some of the nodes."""
    cluster = driver().cluster
    nodes = [cluster.ClusterNode(*address) for address in asked]
    return cluster.NodesManager(nodes, require_full_coverage=False, **_for_clients(url.options))


def open_pool(url: RedisURL, address: Address, *, asynchronous: bool) -> Any:
    """Return a pool of connections to one server.

    Args:
        url: how to connect.
        address: the server.
        asynchronous: whether an event loop uses it, or else threads.
    """
    options = url.connecting_to(address)
    if not asynchronous:
        return driver().ConnectionPool(max_connections=url.connections, **options)
    import redis.asyncio as package

    # Who reads and who connects has a moment by which to be done. A limit of the driver's own would make a task and a
    # timer more of each command.
    options["socket_timeout"] = None
    kind = getattr(package, options.pop("connection_class").__name__)
    return package.ConnectionPool(max_connections=url.connections, connection_class=kind, **options)


def _tries(count: int) -> Any:
    package = driver()
    return package.retry.Retry(package.backoff.ExponentialBackoff(cap=0.1, base=0.01), count - 1)


def _for_clients(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as the driver's clients take them, which choose the class of their connections themselves."""
    secure = issubclass(options["connection_class"], driver().SSLConnection)
    given = {name: option for name, option in options.items() if name != "connection_class" and option is not None}
    return {**given, "ssl": True} if secure else given


@cache
def _watched_pool() -> type[Any]:
    """Return the class of pools that follow a watched master, and make callers wait for a connection."""
    package = driver()
    return type("WatchedPool", (package.sentinel.SentinelConnectionPool, package.BlockingConnectionPool), {})
