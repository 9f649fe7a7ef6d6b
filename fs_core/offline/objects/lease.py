"""Who may rewrite a table in a bucket, and its next number: objects that are written only if they are as somebody saw.

A lock is an object. Who holds it writes it anew now and then, and says in it at last that it is free; it is never
deleted, since a bucket deletes whatever is there. Who wants it and sees that nobody wrote it for four minutes, by its
own clock, takes it over. That is longer than the libraries try a request (three minutes), so who can't reach the bucket
has failed by then. A holder may also stand still for so long, as a suspended machine does, and then go on. So who takes
a lock over puts up a fence first: what refuses commits that began before it. And who holds a lock confirms that between
beginning a commit and making it: either the fence comes after the beginning, or the holder sees that the lock is gone.

Nothing shows in a bucket that an append is under way. So a file that no state names counts as left behind once it is a
day old, and an append that takes longer than half a day is refused.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from typing import Any, TypeAlias

from fs_core.offline.objects.path import ObjectPath, located

log = logging.getLogger("fs_core")

LEASE = 240.0
"""Seconds after which a lock is taken over that nobody has renewed."""
ABANDONED = 86_400.0
"""Seconds after which a file that no state names counts as left behind."""

_RENEWALS = 6  # in the time of a lease
_WORTH_SAYING = 5.0  # seconds of waiting, after which the log says so
_PAUSE = 0.1
_FREE = b"free"

Version: TypeAlias = dict[str, Any]
Confirm: TypeAlias = Callable[[], None]
"""Raises `OSError` where a lock is no longer held."""


class LeaseLocks:
    """The locks of one table in a bucket, for threads and processes on any machine. See `Locks`.

    Args:
        table: where the table lies.
        fence: refuses the table's commits that have begun; called by who takes a lock over.
        name: of the object that is the lock.
    """

    forgetful = False

    def __init__(self, table: ObjectPath, fence: Callable[[], None] = lambda: None, name: str = "rewriting") -> None:
        self._table, self._fence = table, fence
        self._lock = table / ".fs_core" / name
        self._number = table / ".fs_core" / "next-seq"
        self._seen: tuple[Version, float] = {}, 0.0

    @contextmanager
    def rewriting(self) -> Iterator[Confirm]:
        """Be the only one who rewrites or deletes files of the table; yield what confirms it."""
        started, said = time.monotonic(), False
        while (held := self._taken()) is None:
            if not said and time.monotonic() - started > _WORTH_SAYING:
                log.info("waiting until nobody else rewrites %s", self._table)
                said = True
            time.sleep(_PAUSE)
        with self._renewed(held) as confirm:
            yield confirm

    @contextmanager
    def rewriting_now(self) -> Iterator[Confirm | None]:
        """Be the only one who rewrites, if nobody else does; yield what confirms it, None if it isn't so."""
        held = self._taken()
        if held is None:
            yield None
            return
        with self._renewed(held) as confirm:
            yield confirm

    def comparing_now(self) -> AbstractContextManager[Confirm | None]:
        """Be the only one who compares rows with the table and adds those that it lacks, if nobody else does.

        No fence: whoever stands still for four minutes meanwhile may add what somebody else has added.
        """
        return self._comparing.rewriting_now()

    @cached_property
    def _comparing(self) -> LeaseLocks:
        return LeaseLocks(self._table, name="comparing")

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Nothing shows that an append is under way."""
        yield

    def finished(self, files: Collection[str], seconds: float) -> set[str]:  # noqa: ARG002
        """Return those of some unnamed files that nobody will name: they are a day old.

        Args:
            files: data files that no state names.
            seconds: isn't waited for.
        """
        found = set()
        for file in files:
            try:
                if time.time() - located(file).stat().st_mtime > ABANDONED:
                    found.add(file)
            except FileNotFoundError:
                continue
        return found

    def number(self, change: Callable[[bytes], bytes]) -> None:
        """Replace what the object says that holds the next seq.

        Args:
            change: is given what it says, returns what it shall say; called again where somebody else was faster.
        """
        while True:
            try:
                known, seen = self._number.read_versioned()
            except FileNotFoundError:
                known, seen = b"", {}
            if self._number.put_if(change(known), seen or None) is not None:
                return

    def _taken(self) -> Version | None:
        """Return the version of the lock, if it is ours now; None if somebody else has it.

        Where the fence fails, the lock stays as it is: the next one who takes it over puts up another.
        """
        try:
            said, seen = self._lock.read_versioned()
        except FileNotFoundError:
            return self._written(None)
        if said == _FREE:
            return self._written(seen)
        if seen != self._seen[0]:
            self._seen = seen, time.monotonic()
            return None
        if time.monotonic() - self._seen[1] < LEASE:
            return None
        held = self._written(seen)
        if held is not None:
            log.warning("took over the lock on %s, which nobody has renewed for %d seconds", self._lock, LEASE)
            self._fence()
        return held

    def _written(self, seen: Version | None) -> Version | None:
        """Write the lock, if it is still as it was seen; return its version, None if it isn't.

        The library repeats a request whose answer was lost, and then takes our own object for somebody else's.
        """
        mine = json.dumps({"holder": uuid.uuid4().hex}).encode()  # versions are hashes: no two may be equal
        written = self._lock.put_if(mine, seen)
        if written is not None:
            return written
        try:
            found, version = self._lock.read_versioned()
        except FileNotFoundError:
            return None
        return version if found == mine else None

    @contextmanager
    def _renewed(self, version: Version) -> Iterator[Confirm]:
        """Renew a lock in a thread of its own until the context ends, then give it back; yield what confirms it."""
        ended, held, alone = threading.Event(), [version], threading.Lock()

        def confirm() -> None:
            with alone:
                renewed = self._written(held[0]) if held else None
                held[:] = [] if renewed is None else [renewed]
            if renewed is None:
                raise _LostError(f"lost the lock on {self._lock}: this process stood still for too long. Try it again")

        def renew() -> None:
            while held and not ended.wait(LEASE / _RENEWALS):
                try:
                    confirm()
                except _LostError as error:
                    log.error("%s", error)  # noqa: TRY400 - a stack says nothing here
                except OSError as error:  # the next time may be in time
                    log.warning("can't renew the lock on %s: %s", self._lock, error)

        thread = threading.Thread(target=renew, name="fs-core-lease", daemon=True)
        thread.start()
        try:
            yield confirm
        finally:
            ended.set()
            thread.join()
            if held:
                with suppress(OSError):  # somebody takes it over later
                    self._give_back(held[0])

    def _give_back(self, version: Version) -> None:
        """Say that the lock is free, unless somebody has taken it over."""
        if self._lock.put_if(_FREE, version) is None and self._lock.read_bytes() != _FREE:
            log.error("lost the lock on %s: this process stood still for too long", self._lock)


class _LostError(OSError):
    """Somebody else has taken a lock over."""
