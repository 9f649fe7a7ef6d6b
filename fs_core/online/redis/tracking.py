"""What one store is told, in one process, of changes to rows that it has read; and who keeps those rows."""

from __future__ import annotations

import logging
import math
import os
import random
import select
import time
from collections.abc import Sequence
from threading import RLock
from typing import Any
from weakref import WeakSet

from fs_core.online.contract import Keeper, Lease
from fs_core.online.redis.driver import driver
from fs_core.online.redis.listening import Listener
from fs_core.online.redis.naming import Names
from fs_core.online.redis.pauses import LATER, SOON, longer
from fs_core.online.redis.places import Address, Place, arguments

log = logging.getLogger("fs_core")

_NOT_TOLD = Lease(live=False)
_REFUSED = 60.0  # seconds until a listener that was refused is replaced
_LOST = "does not exist"  # what a server says of a listener that has gone

Requests = Sequence[tuple[str, Sequence[bytes]]]


class Tracking:
    """Listens to each server that rows are read from, and tells who keeps them. Thread-safe.

    No keeper is called with the lock held, and no store is referred to: it is closed when its store goes.

    Args:
        place: the servers.
        names: what rows are called there.
        store: what to call the store in a log, without credentials.
    """

    def __init__(self, place: Place, names: Names, store: str) -> None:
        self._place, self._names, self._store = place, names, store
        self._process, self._lock = os.getpid(), RLock()
        self._views: dict[bytes, str] = {}
        self._keepers: WeakSet[Any] = WeakSet()
        self._listeners: dict[Address, Listener] = {}
        self._pauses: dict[Address, tuple[float, float]] = {}  # until when, and how long it was
        self._failed: set[Address] = set()  # servers that told of nothing when they were last listened to
        self._untold: dict[Address, Lease] = {}
        self._closed = self._complained = False

    def expect(self, requests: Requests, keeper: Keeper) -> None:
        """Tell a keeper of changes from now on, in these views as well."""
        with self._lock:
            self._keepers.add(keeper)
            for view, _ in requests:
                self._views[self._names.mark(view)] = view

    def retry(self) -> None:
        """Listen to servers that have told of nothing so far: rows are kept by their age, so no read may ask again."""
        for address in list(self._untold):
            self.listener(address)

    def listener(self, address: Address) -> Listener | None:
        """Return who listens to a server; None, and somebody begins to, where nobody does."""
        with self._lock:
            found = self._listeners.get(address)
            if found is None and not self._closed:
                until, _ = self._pauses.get(address, (0.0, 0.0))
                if time.monotonic() >= until:
                    self._begin(address)
            return found if found is not None and found.is_up else None

    def lease(self, address: Address, link: Any) -> Lease:
        """Return the lease of what is read through a connection to a server.

        Where the server doesn't tell of changes, that is one which lasts until it does. Where it has only
        not been asked yet, or has to be asked again, nothing is kept for that while.
        """
        with self._lock:
            if link.lease is not None and link.lease.live:
                return link.lease  # type: ignore[no-any-return]
            found = self._listeners.get(address)
            if self._closed or address not in self._failed or (found is not None and found.is_up):
                return _NOT_TOLD
            return self._untold.setdefault(address, Lease())

    def only(self, addresses: Sequence[Address]) -> None:
        """Listen to no other servers: what those say doesn't count any more."""
        with self._lock:
            for address in self._listeners.keys() - set(addresses):
                self._listeners[address].stop()
            for address in self._untold.keys() - set(addresses):
                self._untold.pop(address).end()

    def drop(self, view: str, keys: Sequence[bytes]) -> None:
        """Tell of rows that this process has changed itself."""
        with self._lock:
            keepers = list(self._keepers)
        for keeper in keepers:
            keeper.drop(view, keys)

    def close(self) -> None:
        """End all of it."""
        if os.getpid() != self._process:  # a fork's copy, perhaps of a lock that is held
            return
        with self._lock:
            self._closed = True
            self.only(())

    def up(self, listener: Listener) -> None:
        """See `Audience.up`."""
        address = self._address(listener)
        if address in self._untold:
            self._untold.pop(address).end()

    def changed(self, names: Sequence[bytes]) -> None:
        """See `Audience.changed`."""
        changed: dict[str, list[bytes]] = {}
        for name in names:
            view = self._views.get(self._names.mark_of(name))
            if view is not None:
                changed.setdefault(view, []).append(self._names.key(name))
        for view, keys in changed.items():
            self.drop(view, keys)

    def ended(self, listener: Listener) -> None:
        """See `Audience.ended`."""
        error = listener.error
        refused = isinstance(error, driver().ResponseError) and _LOST not in str(error)
        with self._lock:
            address = self._address(listener)
            if address is None:
                return
            del self._listeners[address]
            (self._failed.discard if listener.granted else self._failed.add)(address)
            _, last = self._pauses.get(address, (0.0, 0.0))
            pause = SOON if listener.granted else _REFUSED if refused else longer(last)
            self._pauses[address] = time.monotonic() + pause * random.uniform(0.5, 1.5), pause  # noqa: S311
            complains = refused and not self._complained
            self._complained |= refused
        log.debug("%s: %s:%s tells of no changes: %s", self._store, *address, error)
        if complains:
            log.warning(
                "%s: reads with max_age keep rows by their age alone, for the server refuses to tell of changes: %s. "
                "Its ACL user needs +client|id +client|tracking +subscribe +ping on &__redis__:invalidate.",
                self._store,
                error,
            )

    def _begin(self, address: Address) -> None:
        options = self._place.options
        if not hasattr(select, "epoll"):  # not Linux
            self._fail(address, math.inf)
            return
        try:
            made = Listener(options["connection_class"](**arguments(address, options)), self, self._lock)
            made.start()
        except (OSError, RuntimeError) as error:  # no more descriptors, or threads
            log.debug("%s: nobody can listen to %s:%s: %s", self._store, *address, error)
            self._fail(address, LATER)
        else:
            self._listeners[address] = made

    def _fail(self, address: Address, pause: float) -> None:
        self._failed.add(address)
        self._pauses[address] = time.monotonic() + pause, pause

    def _address(self, listener: Listener) -> Address | None:
        return next((address for address, known in self._listeners.items() if known is listener), None)
