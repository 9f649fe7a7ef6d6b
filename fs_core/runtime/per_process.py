"""Values that each process makes for itself, since connections, threads and locks don't survive a fork.

A forked child has copies of its parent's objects, but none of its parent's threads. So a lock that some thread held is
held for ever, a pool of threads has none, and a connection is shared with the parent. Whatever is one of these lives
in a `PerProcess`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_process = object()


def this_process() -> object:
    """Return what stands for this process, another object in each forked child."""
    return _process


def _forked() -> None:
    global _process
    _process = object()


os.register_at_fork(after_in_child=_forked)


class PerProcess(Generic[T]):
    """A value that each process makes when it first asks. Thread-safe: threads that ask at once get the same one.

    What a parent made stays referenced in a forked child, where nobody uses it, so that it isn't closed there.
    A lock that is safe to fork with is `PerProcess(threading.Lock)`.

    Args:
        make: makes the value. While it does so in one thread, others that ask wait.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._slots: dict[object, _Slot[T]] = {}

    def get(self) -> T:
        """Return this process's value, made now if there is none yet."""
        slot = self._slot()
        value = slot.value
        if not value:
            with slot.lock:
                value = slot.value = slot.value or (self._make(),)
        return value[0]

    def made(self) -> T | None:
        """Return this process's value, None if it has made none."""
        value = self._slot().value
        return value[0] if value else None

    def take(self) -> T | None:
        """Give this process's value away, as to close it, and return it; who asks next makes another."""
        slot = self._slot()
        with slot.lock:
            value, slot.value = slot.value, ()
        return value[0] if value else None

    def _slot(self) -> _Slot[T]:
        found = self._slots.get(_process)
        return found or self._slots.setdefault(_process, _Slot())  # one step, whatever other threads do


class OneProcess:
    """A library that doesn't survive a fork: of processes forked from each other, one may use it."""

    def __init__(self) -> None:
        self._users: set[object] = set()

    def may_use(self) -> bool:
        """Note that this process uses the library; return whether no process that it was forked from did."""
        self._users.add(_process)
        return len(self._users) == 1


delta_library = OneProcess()
"""The Delta library."""


class _Slot(Generic[T]):
    """One process's value, as a tuple of one or none, and the lock under which it is made."""

    __slots__ = ("lock", "value")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: tuple[()] | tuple[T] = ()
