"""What a URL says: hosts, credentials, TLS, and how the servers share the work.

    redis://user:password@host:6379/0                one server; rediss:// with TLS
    unix://user:password@/path/to/socket?db=0        ... behind a socket
    redis://h1:26379,h2:26379/0?sentinel=name        the master that these Sentinels watch under a name
    redis+cluster://h1:6379,h2:6379                  a cluster, of which these nodes know the others

`valkey` may stand for `redis`. What follows the `?` are the driver's options, such as `ssl_ca_certs`,
`max_connections` (or `connections`) and `timeout`. `sentinel_username` and `sentinel_password` are for the Sentinels
themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from fs_core.configuration import has_password
from fs_core.errors import ConfigurationError, redact_url
from fs_core.online.redis.errors import driver

Address = tuple[str, int]
"""Host and port; for a socket, its path and 0."""

_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_ESCAPES = "write '#', '/', '?' and '@' in a password as %23, %2F, %3F and %40"


class _ContradictionError(ValueError):
    """What is wrong with a URL, in words of our own, which quote nothing of it."""


@dataclass(frozen=True, repr=False)
class RedisURL:
    """What a URL says.

    Attributes:
        kind: how the servers share the work.
        seeds: the servers named: the one, the Sentinels, or some nodes of the cluster.
        options: what the driver's connections take, credentials included; no host and port.
        connections: how many connections to a server at most.
        timeout: seconds to wait for a connection, and for each reply, where a call doesn't say otherwise.
        service: the name under which Sentinels watch the master.
        sentinel_options: `options` for the Sentinels.
    """

    kind: Literal["single", "sentinel", "cluster"]
    seeds: tuple[Address, ...]
    options: dict[str, Any]
    connections: int
    timeout: float
    service: str = ""
    sentinel_options: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"RedisURL({self.kind}, {self.seeds})"  # options hold passwords

    def connecting_to(self, address: Address) -> dict[str, Any]:
        """Return what a pool of connections to a server is made with."""
        where = {} if "path" in self.options else {"host": address[0], "port": address[1]}
        return {**self.options, **where}


def parse(url: str, *, connections: int, timeout: float) -> RedisURL:
    """Read a URL.

    Args:
        url: one of the forms above.
        connections: how many connections to a server at most, where the URL doesn't say otherwise.
        timeout: seconds to wait for a connection, and for each reply, where the URL doesn't say otherwise.

    Raises:
        ConfigurationError: the URL makes no sense, or contradicts itself.
    """
    try:
        parsed = _parse(url, connections, timeout)
        options = dict(parsed.options)
        options.pop("connection_class")(**options)  # connects to nothing, but reads the options
    except (ValueError, TypeError, AttributeError, driver().RedisError) as error:
        quotes_nothing = isinstance(error, _ContradictionError) or not has_password(url)
        why = _in_short(error) if quotes_nothing else f"{_ESCAPES}, and look at hosts, ports and options"
        raise ConfigurationError(f"online URL {shown(url)} is not understood: {why}.") from None
    return parsed


def shown(url: str) -> str:
    """Return a URL without its password and options, but for the master's name: without that it were one server's."""
    seen = redact_url(url)
    query = url.rpartition("@")[2].partition("?")[2]  # an `@` behind it, and a piece of a password may pass for one
    named = re.search(r"(?:^|&)sentinel=([\w.-]+)(?:&|$)", query, re.ASCII)
    return seen if named is None or seen.endswith("...") else f"{seen}?sentinel={named[1]}"


def _in_short(error: Exception) -> str:
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    return f"nobody knows the option {unknown[1]!r}" if unknown else str(error)


def _parse(url: str, connections: int, timeout: float) -> RedisURL:
    plain = re.sub("^valkey", "redis", url, flags=re.IGNORECASE)
    scheme, _, rest = plain.partition("://")
    scheme, _, sharing = scheme.lower().partition("+")
    parts = urlsplit(f"{scheme}://{rest}")
    if _has_parted_password(parts):
        raise _ContradictionError(_ESCAPES)
    if scheme != "unix" and not re.fullmatch("/?[0-9]*/?", parts.path):  # the driver would take 0
        raise _ContradictionError("what follows the port is no number of a database, such as /0")
    login, at, hosts = parts.netloc.rpartition("@")
    named = hosts.split(",")
    given = driver().connection.parse_url(f"{scheme}://{login}{at}{named[0]}{parts.path}?{parts.query}")
    connections, timeout = _limits(given, connections, timeout)
    service, login_options = given.pop("sentinel", ""), _sentinel_login(given)
    kind: Literal["single", "sentinel", "cluster"] = "sentinel" if service else "cluster" if sharing else "single"
    if sharing not in ("", "cluster") or (sharing and service):
        raise _ContradictionError("a URL names a cluster (redis+cluster://) or Sentinels (?sentinel=name), not both")
    if kind == "single" and len(named) > 1:
        raise _ContradictionError("it names several servers; say redis+cluster://, or ?sentinel= and the master's name")
    if kind == "cluster" and given.pop("db", 0):
        raise _ContradictionError("a cluster has no databases but 0")
    seeds = tuple(_address(host, _PORTS[kind]) for host in named) if scheme != "unix" else ((given["path"], 0),)
    options = {**_defaults(timeout), **given, "decode_responses": False, "protocol": 2}  # rows are bytes
    for name in ("host", "port"):
        options.pop(name, None)
    asking = {**options, **login_options, "db": 0} if service else None
    return RedisURL(kind, seeds, options, connections, timeout, service, asking)


def _defaults(timeout: float) -> dict[str, Any]:
    return {
        "connection_class": driver().Connection,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
    }


def _limits(given: dict[str, Any], connections: int, timeout: float) -> tuple[int, float]:
    """Take what limits a pool out of a URL's options; where it isn't there, return what is given beside the URL."""
    passed = {name: given.pop(name) for name in ("max_connections", "connections", "timeout") if name in given}
    most = int(passed.get("max_connections", passed.get("connections", connections)))
    wait = float(passed.get("timeout", timeout))
    if most < 1 or not 0 < wait < float("inf"):
        raise _ContradictionError("max_connections is a whole number of 1 or more, timeout a number of seconds above 0")
    return most, wait


def _has_parted_password(parts: SplitResult) -> bool:
    """Return whether an `@` lies behind what ends a host, so a piece of a password would pass for a host or port."""
    behind = [parts.fragment, *(option for option in parts.query.split("&") if "=" not in option)]
    if parts.scheme == "unix":
        return any("@" in part for part in behind) or ("@" in parts.path and ":" in parts.netloc.rpartition("@")[2])
    return any("@" in part for part in [parts.path, *behind])


def _sentinel_login(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}


def _address(host: str, port: int) -> Address:
    parts = urlsplit(f"//{host}")
    return parts.hostname or "localhost", parts.port or port
