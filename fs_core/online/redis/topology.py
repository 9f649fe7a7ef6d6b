"""Which server has which keys. The driver's own clients find out: of Sentinels, and of a cluster's nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from fs_core.online.redis.client import open_cluster_nodes, open_sentinel
from fs_core.online.redis.errors import driver, driver_errors
from fs_core.online.redis.url import Address, RedisURL
from fs_core.runtime.threads import in_thread

SLOTS = 16_384


@dataclass(frozen=True)
class Topology:
    """Which server has which keys, as it was found.

    Attributes:
        servers: those that take rows.
        owners: for each slot the position of its server, int16 [SLOTS], -1 for none; None where the one server has all.
    """

    servers: tuple[Address, ...]
    owners: np.ndarray[Any, np.dtype[np.int16]] | None = None

    def route(self, names: Sequence[bytes]) -> dict[Address | None, Sequence[int]]:
        """Return for each server the positions of the names that it has; None is for slots that no server has."""
        if self.owners is None:
            return {self.servers[0]: range(len(names))}
        slot_of = driver().crc.key_slot
        owners = self.owners[np.fromiter(map(slot_of, names), np.int64, len(names))]
        found: dict[Address | None, Sequence[int]] = {}
        for owner in np.unique(owners).tolist():
            found[self.servers[owner] if owner >= 0 else None] = np.flatnonzero(owners == owner).tolist()
        return found


class Servers:
    """The topology as it was last found, and one search at a time for the next. Thread-safe.

    While it is searched, reads go by the last one: where a node is lost, others go on serving.

    Args:
        url: what the user passed.
    """

    def __init__(self, url: RedisURL) -> None:
        self._url, self._lock = url, Lock()
        self._search: Future[Topology] | None = None
        self.topology = Topology(url.seeds) if url.kind == "single" else None

    def search_after(self, failures: Mapping[Address | None, Exception]) -> Future[Topology] | None:
        """Begin to find out what has changed, since some servers failed; return the search, None where nothing can."""
        return None if self._url.kind == "single" else self.search([failed for failed in failures if failed])

    def search(self, failed: Sequence[Address] = ()) -> Future[Topology]:
        """Begin to find out who has which keys, unless that is under way; `failed` servers aren't asked if others are.

        It is done in a thread, for a search asks one server after the other, and its caller may have less time.
        """
        with self._lock:
            if self._search is None or self._search.done():
                known = [*(self.topology.servers if self.topology else ()), *self._url.seeds]
                asked = [address for address in dict.fromkeys(known) if address not in failed]
                self._search = in_thread(lambda: self._find(asked or known))
            return self._search

    def _find(self, asked: list[Address]) -> Topology:
        self.topology = found = find(self._url, asked)
        return found


def find(url: RedisURL, asked: list[Address]) -> Topology:
    """Find out who has which keys.

    Args:
        url: what the user passed.
        asked: which nodes of a cluster to ask; Sentinels are those of the URL.

    Raises:
        redis.RedisError: nobody who was asked knows.
    """
    if url.kind == "single":
        return Topology(url.seeds)
    if url.kind == "sentinel":
        return Topology((_master(url),))
    with closing(open_cluster_nodes(url, asked)) as nodes:
        return _of_cluster(nodes.slots_cache)


def _master(url: RedisURL) -> Address:
    asked = open_sentinel(url, tries=1)
    unknown = driver().sentinel.MasterNotFoundError
    try:
        with suppress(unknown):
            host, port = asked.discover_master(url.service)
            return str(host), int(port)
        raise _silence(asked.sentinels) or unknown(f"no Sentinel knows a master called {url.service!r} that is up")
    finally:
        for sentinel in asked.sentinels:
            sentinel.close()


def _silence(sentinels: Sequence[Any]) -> Exception | None:
    """Return why no Sentinel answers, None where one does: the driver says only that there is no master."""
    failure: Exception | None = None
    for sentinel in sentinels:
        try:
            sentinel.ping()
        except driver_errors() as error:
            failure = error
        else:
            return None
    return failure


def _of_cluster(slots: dict[int, list[Any]]) -> Topology:
    servers: dict[Address, int] = {}
    owners = np.full(SLOTS, -1, np.int16)
    for slot, (primary, *_) in slots.items():
        owners[slot] = servers.setdefault((primary.host, primary.port), len(servers))
    return Topology(tuple(servers), owners)
