"""Who may change a table at this moment: locks on files beside it, which the system drops when their holder dies,
and what it has forked meanwhile.

Two kinds. Rewriters exclude each other. Appends exclude nobody; they only show that they are under way, so that a
rewriter can wait until every append that began before some moment has ended: what no state names then, nobody will.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from fs_core.errors import OfflineStoreError
from fs_core.offline.objects.lease import Confirm, LeaseLocks
from fs_core.offline.objects.path import Location, ObjectPath
from fs_core.runtime.files import make_directory

log = logging.getLogger("fs_core")

DIRECTORY = ".fs_core"
"""Where locks lie in a table's directory; other programs that read Delta tables skip such a name."""

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What the system says to who may only read."""

_TURN_SECONDS = 600.0  # how long one who adds what is missing waits for another
_TURN_PAUSE = 0.05
_WORTH_SAYING = 5.0  # seconds of waiting, after which the log says so
_PAUSE = 0.005


class Locks(Protocol):
    """The locks of one table, whatever it lies on.

    Attributes:
        forgetful: whether what is kept of the next seq may be older than it was when the machine went down.
    """

    forgetful: bool

    def rewriting(self) -> AbstractContextManager[Confirm]:
        """Be the only one who rewrites or deletes files of the table; yield what confirms it."""
        ...

    def rewriting_now(self) -> AbstractContextManager[Confirm | None]:
        """Be the only one who rewrites, if nobody else does; yield what confirms it, None if it isn't so."""
        ...

    def comparing_now(self) -> AbstractContextManager[Confirm | None]:
        """Be the only one who compares rows with the table and adds those that it lacks, as `rewriting_now`."""
        ...

    def appending(self) -> AbstractContextManager[None]:
        """Be one of those who append: what is written meanwhile isn't taken for somebody's who died."""
        ...

    def finished(self, files: Collection[str], seconds: float) -> set[str]:
        """Return those of some unnamed files that nobody will name who began to append before. Only while rewriting.

        Args:
            files: data files that no state names.
            seconds: how long to wait at most for appends that are under way.
        """
        ...

    def number(self, change: Callable[[bytes], bytes]) -> None:
        """Replace what is kept of the next seq, with nobody else in between.

        Args:
            change: is given what is kept, returns what shall be.
        """
        ...


def locks_of(table: Location, fence: Callable[[], None]) -> Locks:
    """Return the locks of a table.

    Args:
        table: where it lies.
        fence: refuses the table's commits that have begun, where a holder can lose a lock.
    """
    return LeaseLocks(table, fence) if isinstance(table, ObjectPath) else TableLocks(table)


@contextmanager
def in_turn(view: str, locks: Locks, named: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Be the only one who compares rows with a table and adds those that it lacks.

    Args:
        view: whose table, for people.
        locks: the table's.
        named: makes what the locks raise errors that name the view.

    Raises:
        OfflineStoreError: another takes too long, or the table can't be locked.
    """
    began, said, pause = time.monotonic(), False, _TURN_PAUSE
    with ExitStack() as held:
        while not _is_turn(locks, named, held):
            waited = time.monotonic() - began
            if waited > _TURN_SECONDS:
                raise OfflineStoreError(
                    f"view {view!r}: another incremental backfill, release or carry_over has taken more than "
                    f"{waited:.0f} s. Nothing was written. Try again once it has ended."
                )
            if waited > _WORTH_SAYING and not said:
                log.warning("view %s: waiting for another incremental backfill, release or carry_over to end", view)
                said = True
            time.sleep(pause)
            pause = min(2 * pause, 1.0)  # a bucket is asked each time
        yield


def _is_turn(locks: Locks, named: Callable[[], AbstractContextManager[None]], held: ExitStack) -> bool:
    """Have the lock held, if nobody else holds it. Where nothing can be written, nobody need wait."""
    with named(), ExitStack() as tried:
        try:
            mine = tried.enter_context(locks.comparing_now()) is not None
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            mine = True
        if mine:
            held.push(tried.pop_all())
    return mine


class TableLocks:
    """The locks of one table in files, for threads and processes alike.

    Args:
        table: the table's directory; made when a lock is first taken.
    """

    forgetful = True

    def __init__(self, table: Path) -> None:
        self._table = table
        self._directory = table / DIRECTORY

    @contextmanager
    def rewriting(self) -> Iterator[Confirm]:
        """Be the only one who rewrites or deletes files of the table; nobody else can take the lock meanwhile."""
        with self._alone("rewriting"):
            yield _held

    def rewriting_now(self) -> AbstractContextManager[Confirm | None]:
        """Be the only one who rewrites, if nobody else does; yield None if it isn't so."""
        return self._now("rewriting")

    def comparing_now(self) -> AbstractContextManager[Confirm | None]:
        """Be the only one who compares rows with the table and adds those that it lacks, if nobody else does."""
        return self._now("comparing")

    @contextmanager
    def _now(self, name: str) -> Iterator[Confirm | None]:
        file = self._open(name)
        try:
            yield _held if _locked(file, fcntl.LOCK_EX, 0.0) else None
        finally:
            _release(file)

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Be the only one who takes rows out of the table to put them somewhere else."""
        with self._alone("taking"):
            yield

    @contextmanager
    def following(self) -> Iterator[None]:
        """Be the only one who brings streams further, in the table or beside it."""
        with self._alone("following"):
            yield

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        file = self._open(name)
        try:
            if not _locked(file, fcntl.LOCK_EX, _WORTH_SAYING):
                log.info("waiting until nobody else is %s %s", name, self._table)
                _locked(file, fcntl.LOCK_EX, None)
            yield
        finally:
            _release(file)

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Be one of those who append: what is written meanwhile isn't taken for somebody's who died."""
        file = self._join()
        try:
            yield
        finally:
            _release(file)

    def outlast_appends(self, seconds: float) -> bool:
        """Wait until every append that is under way has ended; others may begin meanwhile. Only while rewriting.

        Appends hold a file together. It is renamed, so that later ones hold another. If this process dies then, the
        next one finds the renamed file and waits for those who hold it, too.

        Args:
            seconds: how long to wait at most.

        Returns:
            Whether they all have.
        """
        ends = time.monotonic() + seconds
        current, earlier = self._directory / "appending", self._directory / "appending.earlier"
        if earlier.exists() and not _outlast(earlier, ends):
            return False
        try:
            current.rename(earlier)
        except FileNotFoundError:
            return True
        return _outlast(earlier, ends)

    def finished(self, files: Collection[str], seconds: float) -> set[str]:
        """Return all of some files, once every append has ended that was under way; none if that takes too long.

        Args:
            files: data files that no state names.
            seconds: how long to wait at most.
        """
        return set(files) if self.outlast_appends(seconds) else set()

    def number(self, change: Callable[[bytes], bytes]) -> None:
        """Replace what the file says that holds the next seq.

        Args:
            change: is given what it says, returns what it shall say, never less.
        """
        descriptor = self._open("next-seq")
        try:
            _locked(descriptor, fcntl.LOCK_EX, None)
            with open(descriptor, "r+b", closefd=False) as file:
                changed = change(file.read())
                file.seek(0)
                file.write(changed)
        finally:
            _release(descriptor)

    def _join(self) -> int:
        """Return the file that all appends hold now, held; another where a rewriter has just renamed it."""
        while True:
            file = self._open("appending")
            try:
                _locked(file, fcntl.LOCK_SH, None)
                if os.path.samestat(os.fstat(file), os.stat(self._directory / "appending")):  # noqa: PTH116
                    return file
            except FileNotFoundError:
                pass
            except BaseException:
                _release(file)
                raise
            _release(file)

    def _open(self, name: str) -> int:
        path = self._directory / name
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            make_directory(self._directory)
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _held() -> None:
    """Confirm a lock that the system keeps for as long as its holder lives."""


def _outlast(path: Path, ends: float) -> bool:
    """Wait until nobody holds a file, then remove it; return whether it came to that in time."""
    file = os.open(path, os.O_RDWR)
    try:
        if not _locked(file, fcntl.LOCK_EX, ends - time.monotonic()):
            return False
        path.unlink()
        return True
    finally:
        _release(file)


def _locked(file: int, kind: int, seconds: float | None) -> bool:
    """Lock a file; return whether that came about in some seconds, or wait as long as it takes."""
    if seconds is None:
        fcntl.flock(file, kind)
        return True
    ends = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= ends:
                return False
            time.sleep(_PAUSE)
        else:
            return True


def _release(file: int) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)  # not by closing it alone: a process forked meanwhile has it open, too
    os.close(file)
