"""Which server has which rows: what to ask to find out, what follows from the reply. No input or output here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fs_core.online.redis.driver import driver
from fs_core.online.redis.places import Address, Place

SLOTS = 16_384


class OneServer:
    """One server has every row."""

    question: tuple[str, ...] = ()
    in_arrays = True
    """Whether one command may read names of several slots."""
    nobody_knows = "no server knows who has the rows"
    """What to say where all that answer the question know nothing."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._server: Address | None = place.seeds[0]

    @property
    def known(self) -> bool:
        """Whether `route` can be asked."""
        return self._server is not None

    def learn(self, reply: Any, asked: Address) -> bool:
        """Take the reply to the question; return whether it says enough."""
        del reply, asked
        return self.known

    def forget(self) -> None:
        """Take it that something has changed."""

    def route(self, names: Sequence[bytes]) -> dict[Address | None, Sequence[int]]:
        """Return for each server the places of the names whose rows it has; None is a server that nobody knows."""
        return {self._server: range(len(names))}


class WatchedMaster(OneServer):
    """The master of some servers has every row; Sentinels know which it is."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", place.service)
        self.nobody_knows = f"no Sentinel watches a master called {place.service!r}, as its URL says"
        self._server = None

    def learn(self, reply: Any, asked: Address) -> bool:
        """See `OneServer.learn`."""
        del asked
        if reply:
            host, port = reply
            self._server = (_text(host), int(port))
        return self.known

    def forget(self) -> None:
        """See `OneServer.forget`."""
        self._server = None


class Cluster(OneServer):
    """Each server has the rows of some slots."""

    question = ("CLUSTER", "SLOTS")
    in_arrays = False

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._servers: list[Address] = []
        self._owner = np.full(SLOTS, -1, np.int16)
        self._fresh = False

    @property
    def known(self) -> bool:
        """See `OneServer.known`."""
        return self._fresh

    @property
    def servers(self) -> list[Address]:
        """The primaries that are known, for others to be asked about the rest."""
        return self._servers

    def learn(self, reply: Any, asked: Address) -> bool:
        """See `OneServer.learn`."""
        servers: dict[Address, int] = {}
        owner = np.full(SLOTS, -1, np.int16)
        for first, last, primary, *_ in reply:
            host = _text(primary[0] or b"")
            address = (host if host not in ("", "?") else asked[0], int(primary[1]))
            owner[int(first) : int(last) + 1] = servers.setdefault(address, len(servers))
        if servers:
            self._servers, self._owner, self._fresh = list(servers), owner, True
        return self._fresh

    def forget(self) -> None:
        """See `OneServer.forget`."""
        self._fresh = False

    def route(self, names: Sequence[bytes]) -> dict[Address | None, Sequence[int]]:
        """See `OneServer.route`."""
        slot_of = driver().crc.key_slot
        owners = self._owner[np.fromiter(map(slot_of, names), np.int64, len(names))]
        found: dict[Address | None, Sequence[int]] = {}
        for owner in np.unique(owners).tolist():
            found[self._servers[owner] if owner >= 0 else None] = np.flatnonzero(owners == owner).tolist()
        return found


def topology_of(place: Place) -> OneServer:
    """Return what a place's servers are to each other."""
    kinds: dict[str, type[OneServer]] = {"single": OneServer, "sentinel": WatchedMaster, "cluster": Cluster}
    return kinds[place.kind](place)


def _text(host: bytes | str) -> str:
    return host.decode() if isinstance(host, bytes) else host
