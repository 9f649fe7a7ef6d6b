"""One segment: how its writer adds rows, and how somebody takes it to fold it."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from fs_core.offline.delta.journal.records import FOLDING, Content, begin, parse, record
from fs_core.runtime.files import bring_to_disk, make_directory

log = logging.getLogger("fs_core")

PUSHED = ".rows"
"""How a segment ends that has rows which were pushed."""
TAKEN = ".taken"
"""How a segment ends that has batches of streams."""
DAMAGED = ".damaged"
"""How the copy of a segment ends that can't be read whole."""


class Segment:
    """A segment that this process adds rows to. One thread at a time uses it.

    Args:
        directory: where segments lie; made if it isn't there.
        suffix: says of what: `PUSHED` or `TAKEN`.
        state: the newest state of the table.
        schema: of the rows.

    Raises:
        OSError: it can't be made.
    """

    def __init__(self, directory: Path, suffix: str, state: int, schema: pa.Schema) -> None:
        make_directory(directory)
        self.path = directory / f"{uuid.uuid4().hex}{suffix}"
        self.began = time.monotonic()
        self.size = 0
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)
        weakref.finalize(self, os.close, self._file)
        self._head = begin(state, schema)
        bring_to_disk(directory)

    def add(self, data: bytes) -> bool:
        """Add a record and wait until it is on disk; False, with nothing added, if the segment takes no more.

        Raises:
            OSError: it isn't there, as on a full disk; the segment takes no more.
        """
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            found = os.fstat(self._file)
            if not found.st_nlink or found.st_size != self.size:
                return False
            self._write(data if self.size else self._head + data)
            return True
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _write(self, data: bytes) -> None:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._file, left) :]
            os.fdatasync(self._file)
        except BaseException:
            os.ftruncate(self._file, self.size)
            self.size = -1
            raise
        self.size += len(data)


class Claimed:
    """A segment that is held in order to be folded; its writer adds nothing meanwhile, nor later.

    Args:
        path: where it lies.
        file: the open file, locked.
        content: what it holds.
    """

    def __init__(self, path: Path, file: int, content: Content) -> None:
        self._path, self._file, self.content = path, file, content

    @property
    def name(self) -> str:
        """What tells it from every other; in the table's log, once it is folded."""
        return self._path.stem

    def mark(self) -> None:
        """Have its writer begin another one, whatever becomes of this process."""
        os.write(self._file, record(FOLDING, b""))

    def remove(self) -> None:
        """Delete it, as its rows are in the table; what can't be read of it stays in a copy."""
        if self.content.damaged:
            copy = self._path.with_suffix(DAMAGED)
            shutil.copyfile(self._path, copy)
            log.error(
                "%s: %d bytes of rows that came are damaged, so these rows are lost; the others are in the "
                "table. Look after the disk, and add them again. A copy is kept: %s",
                self._path,
                self.content.damaged,
                copy,
            )
        self._path.unlink(missing_ok=True)


@contextmanager
def claimed(path: Path) -> Iterator[Claimed | None]:
    """Hold a segment; None if it is gone by the time that nobody else holds it.

    Raises:
        OSError: it can't be read, or not be written to.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield Claimed(path, file, _content(path, file)) if os.fstat(file).st_nlink else None
    finally:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def _content(path: Path, file: int) -> Content:
    with open(file, "rb", closefd=False) as opened:
        data = opened.read()
    content = parse(data)
    if content.unfinished:
        lost = content.unfinished
        log.warning("%s: left out %d bytes of rows whose arrival was never answered, as its process died", path, lost)
    return content


def pending(directory: Path, *suffixes: str) -> list[Path]:
    """Return the segments that lie in a directory, in one order for everybody.

    Args:
        directory: where.
        suffixes: of which kinds; by default of all.
    """
    try:
        with os.scandir(directory) as found:
            return sorted(Path(entry.path) for entry in found if entry.name.endswith(suffixes or (PUSHED, TAKEN)))
    except FileNotFoundError:
        return []
