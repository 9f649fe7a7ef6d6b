"""One connection on which a server tells of changes to rows that other connections have read.

On those, `CLIENT TRACKING ON REDIRECT id` was said, with the listening connection's number: the server then
remembers which names each has read, and tells when one of them changes, is deleted or collected, or when its
memory for names is full. Source: https://valkey.io/topics/client-side-caching, for RESP2, which Redis 6.2 speaks.

A server forgets what a connection has read when that connection ends, and tells nobody. So what was read is
kept under a lease for each connection, which ends with the connection, whoever closes it; and, since one may
break without a sign, when nothing has been read through it for a while.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import RLock, Thread
from typing import Any, Protocol

from fs_core.online.contract import Lease
from fs_core.online.redis.driver import driver, driver_errors

CHANNEL = b"__redis__:invalidate"

_BEAT = 2.0  # seconds of silence after which the server is asked for a sign; after as many again it is given up
_SILENT = 10.0  # seconds after which a connection through which nothing was read is proven no more
_AT_ONCE = 1000  # messages taken before those who keep rows are told


class Audience(Protocol):
    """Whom a listener tells. None of these raises anything; `up` is called with the lock held."""

    def up(self, listener: Listener) -> None:
        """From now on changes are told."""
        ...

    def changed(self, names: Sequence[bytes]) -> None:
        """These may have changed."""
        ...

    def ended(self, listener: Listener) -> None:
        """No changes are told any more; why, says `listener.error`."""
        ...


class LinkLease(Lease):
    """What rows read through one connection are kept under.

    Attributes:
        proven: when the last thing was asked on it that was answered: until then the server had what was read in mind.
    """

    __slots__ = ("descriptor", "listener", "proven")

    def __init__(self, listener: Listener, descriptor: int, proven: float) -> None:
        super().__init__()
        self.listener, self.descriptor, self.proven = listener, descriptor, proven

    def end(self) -> None:
        """See `Lease.end`."""
        self.listener.release(self)


class Listener:
    """A connection that is told, and the thread that waits on it.

    Args:
        connection: a connection of the driver, not connected.
        audience: whom to tell.
        lock: guards this and the leases; it is reentrant, for a garbage collection may end a lease at any step.

    Attributes:
        error: why it ended.
        was_up: whether changes were told at some time.
        granted: whether a lease was given.
    """

    def __init__(self, connection: Any, audience: Audience, lock: RLock) -> None:
        self.error: Exception | None = None
        self.was_up = self.granted = self._over = False
        self._connection, self._audience, self._lock = connection, audience, lock
        self._process, self._number = os.getpid(), 0
        self._peer: Any = None
        self._leases: dict[int, LinkLease] = {}
        self._epoll = select.epoll()
        self._wake = os.eventfd(0)

    @property
    def is_up(self) -> bool:
        """Whether changes are told."""
        return self.was_up and not self._over

    @property
    def is_over(self) -> bool:
        """Whether it has ended, for good."""
        return self._over

    def start(self) -> None:
        """Connect and listen, in a thread of its own."""
        try:
            Thread(target=self._run, name="fs-core-listener", daemon=True).start()
        except RuntimeError:  # no more threads
            self._close()
            raise

    def stop(self, error: Exception | None = None) -> None:
        """End it and every lease, at once."""
        if os.getpid() != self._process:
            return
        with self._lock:
            if not self._over:
                self.error = error
                self._end()
                os.eventfd_write(self._wake, 1)

    @staticmethod
    def hears(link: Any) -> bool:
        """Tell whether changes of what a connection reads are told."""
        return link.lease is not None and link.lease.live

    @contextmanager
    def telling(self, link: Any) -> Iterator[tuple[str, ...] | None]:
        """Yield what to ask the server on a connection so that changes of what it reads are told; None if it is asked.

        What it reads afterwards has the lease `link.lease`. Where the server refuses, it has none.

        Raises:
            redis.ConnectionError: it leads elsewhere than the listening connection: the name they share has moved.
                The number means somebody else there, if anybody, so listening begins anew.
        """
        if self.hears(link):
            yield None
            return
        if self.is_up and link.peer != self._peer:
            moved = driver().ConnectionError("the name leads to another server now")
            self.stop(moved)
            raise moved
        asked = time.monotonic()
        try:
            yield "CLIENT", "TRACKING", "ON", "REDIRECT", str(self._number)
        except driver().ResponseError as error:
            self.stop(error)
        else:
            self._grant(link, asked)

    def release(self, lease: LinkLease) -> None:
        """End a lease."""
        lease.live = False
        if os.getpid() != self._process:  # a fork's copy, perhaps of a lock that is held
            return
        with self._lock:
            if self._leases.get(lease.descriptor) is lease:  # it may have ended, and the number be another's
                del self._leases[lease.descriptor]
                self._epoll.unregister(lease.descriptor)
                os.close(lease.descriptor)

    def _grant(self, link: Any, asked: float) -> None:
        with self._lock:
            if self._over:
                return
            try:
                # A descriptor of our own: theirs may be closed, and its number be another's, before we are told.
                descriptor = os.dup(link.descriptor)
                self._epoll.register(descriptor, select.EPOLLRDHUP)
            except OSError as error:
                self.stop(error)
                return
            link.lease = self._leases[descriptor] = LinkLease(self, descriptor, asked)
            self.granted = True

    def _run(self) -> None:
        try:
            self._begin()
            self._listen()
        except driver_errors() as error:
            with self._lock:
                self.error = self.error or error
        finally:
            self._close()
            self._audience.ended(self)

    def _begin(self) -> None:
        self._connection.connect()
        number = int(self._ask("CLIENT", "ID"))
        self._ask("CLIENT", "TRACKING", "OFF")  # what is said on other connections later: may this user say it?
        self._ask("SUBSCRIBE", CHANNEL)
        self._ask("PING")
        self._epoll.register(self._wake, select.EPOLLIN)
        self._epoll.register(self._connection._sock.fileno(), select.EPOLLIN)
        with self._lock:
            if not self._over:
                self._number, self._peer, self.was_up = number, self._connection._sock.getpeername(), True
                self._audience.up(self)

    def _listen(self) -> None:
        own, heard, asked = self._connection._sock.fileno(), time.monotonic(), 0.0
        while not self._over:
            found = [descriptor for descriptor, _ in self._epoll.poll(_BEAT)]
            for lost in [self._leases.get(descriptor) for descriptor in found]:
                if lost is not None:
                    lost.end()
            self._end_silent()
            now = time.monotonic()
            if own in found:
                self._take()
                heard = now
            elif now - heard >= 2 * _BEAT:
                raise driver().TimeoutError("the server gave no sign")
            elif now - heard >= _BEAT and asked <= heard:
                self._connection.send_command("PING", check_health=False)
                asked = now

    def _take(self) -> None:
        """Take what has come in, until there is no more; whoever closed the connection is an error."""
        more = True
        while more and not self._over:
            names = list[bytes]()
            for _ in range(_AT_ONCE):
                more = self._connection.can_read(0)
                if not more:
                    break
                kind, *_, told = self._connection.read_response(disable_decoding=True)
                if kind == b"message" and told is None:  # everything was flushed
                    self._end_leases()
                elif kind == b"message":
                    names += told
            if names:
                self._audience.changed(names)
            self._end_silent()

    def _ask(self, *command: str | bytes) -> Any:
        self._connection.send_command(*command, check_health=False)
        return self._connection.read_response()

    def _end_leases(self) -> None:
        with self._lock:
            for lease in list(self._leases.values()):
                lease.end()

    def _end_silent(self) -> None:
        with self._lock:
            oldest = time.monotonic() - _SILENT
            for lease in [lease for lease in self._leases.values() if lease.proven < oldest]:
                lease.end()

    def _end(self) -> None:
        with self._lock:
            self._over = True
            self._end_leases()

    def _close(self) -> None:
        with self._lock:
            self._end()
            self._epoll.close()
            os.close(self._wake)
        self._connection.disconnect()
