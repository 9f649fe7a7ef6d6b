"""What must not be under way when a process forks: SQLite.

SQLite keeps, for each file that a process has open, which locks the process holds. A forked child inherits that record
but not the locks: it waits for transactions of its parent's that never end in the child, or writes without the locks
that it believes it has. So a fork waits until no thread is inside SQLite and closes the files that are open. Parent
and child open them anew.
"""

from __future__ import annotations

import logging
import os
import threading
from types import TracebackType
from typing import Protocol
from weakref import WeakSet

log = logging.getLogger("fs_core")

_PATIENCE_SECONDS = 10.0


class Closable(Protocol):
    """Something that opens again by itself."""

    def close(self) -> None:
        """Close it."""


class ForkGate:
    """A context for what must be over when the process forks; threads enter it as they like, and again inside."""

    def __init__(self) -> None:
        self._closed_first = WeakSet[Closable]()
        self._depths: dict[int, int] = {}  # by threads that are inside
        self._forking: int | None = None  # the thread that forks
        self._changed = threading.Condition(threading.Lock())
        os.register_at_fork(before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child)

    def close_first(self, opened: Closable) -> None:
        """Have something closed before each fork, while nobody is inside, as long as it lives."""
        self._closed_first.add(opened)

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            while self._forking not in (None, me) and me not in self._depths:
                self._changed.wait()
            self._depths[me] = self._depths.get(me, 0) + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        me = threading.get_ident()
        with self._changed:
            self._depths[me] -= 1
            if not self._depths[me]:
                del self._depths[me]
                if self._forking is not None:
                    self._changed.notify_all()

    def _before(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._forking is None)
            self._forking = me
            is_quiet = self._changed.wait_for(lambda: not self._depths.keys() - {me}, _PATIENCE_SECONDS)
        if not is_quiet:
            log.warning(
                "this process forks while a thread has used a SQLite file for more than %g s: the child may find the "
                "file locked. Fork when that is done, or start children with spawn.",
                _PATIENCE_SECONDS,
            )
            return
        for opened in tuple(self._closed_first):
            opened.close()

    def _in_parent(self) -> None:
        with self._changed:
            self._forking = None
            self._changed.notify_all()

    def _in_child(self) -> None:
        me = threading.get_ident()
        self._changed = threading.Condition(threading.Lock())  # a thread of the parent may hold the other
        self._depths = {me: self._depths[me]} if me in self._depths else {}
        self._forking = None


outside_forks = ForkGate()
"""The gate of this process: `with outside_forks:` around each use of a SQLite file."""
