"""Data files in a bucket: read by ranges, small ones whole and many at once, and known to DuckDB.

A data file never changes, so what was read of one stays right. This process remembers sizes, the metadata of Parquet
files, and whole small files up to some megabytes.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from fs_core.offline.objects.memory import MOST_BYTES, Facts, memory
from fs_core.offline.objects.path import ObjectPath, is_object, located
from fs_core.runtime.per_process import PerProcess

T = TypeVar("T")
L = TypeVar("L", str, ObjectPath)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SMALL = 256 << 10
"""Bytes of a file that is read whole: a request takes about as long as so many bytes."""

_AT_ONCE = 32  # requests


_threads = PerProcess(lambda: ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fs_core_objects"))


def facts(file: str) -> Facts:
    """Return the size of a data file and when it was written.

    Raises:
        OSError: nobody knows it, and it can't be asked for.
    """
    found = memory().facts.get(file) if is_object(file) else None
    if found is None:
        stat = located(file).stat()
        found = Facts(stat.st_size, stat.st_mtime)
        if is_object(file):
            memory().facts.put(file, found)
    return found


def parquet_file(file: str) -> pq.ParquetFile:
    """Open a data file, on this machine or in a bucket.

    Raises:
        OSError, pa.ArrowException: it isn't there, or no Parquet file.
    """
    if not is_object(file):
        return pq.ParquetFile(file)
    known = memory()
    metadata = known.metadata.get(file)
    opened = pq.ParquetFile(pa.PythonFile(ObjectFile(file), "r"), metadata=metadata, pre_buffer=True)
    if metadata is None:
        known.metadata.put(file, opened.metadata)
    return opened


def fetch_small(files: Sequence[str]) -> None:
    """Have those of some data files at hand that are small, by requests that don't wait for each other."""
    known = memory()
    wanted, size = list[str](), 0
    for file in files:
        found = known.facts.get(file) if is_object(file) else None
        if found is None or found.size > SMALL or known.contents.get(file) is not None:
            continue
        size += found.size
        if size > MOST_BYTES:
            break
        wanted.append(file)
    if len(wanted) > 1:
        each_at_once(_whole, wanted)


def each_at_once(work: Callable[[L], T], items: Sequence[L]) -> list[T]:
    """Return what work makes of each of some objects, by requests that don't wait for each other; of files, in turn.

    Args:
        work: what reads one; it doesn't call this.
        items: the objects, or files on this machine.
    """
    if items and is_object(str(items[0])):
        return list(_threads.get().map(work, items))
    return list(map(work, items))


def _whole(url: str) -> bytes:
    known = memory()
    content = known.contents.get(url)
    if content is None:
        content = ObjectPath(url).read_bytes()
        known.contents.put(url, content, len(content))
    return content


class ObjectFile(io.RawIOBase):
    """A data file in a bucket, opened for reading; nothing is asked of the bucket until it is read.

    DuckDB's threads share one, and each says where it reads before it does. So each has its own position.

    Args:
        url: the file's.

    Raises:
        OSError: it isn't there.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._path = ObjectPath(url)
        self._size = facts(url).size
        self._at = threading.local()

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def tell(self) -> int:
        """Return this thread's position."""
        return int(getattr(self._at, "position", 0))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set this thread's position; return it.

        Args:
            offset: bytes.
            whence: from where on they count.
        """
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._size}[whence]
        self._at.position = start + offset
        return self.tell()

    def read(self, size: int = -1) -> bytes:
        """Return bytes from this thread's position on, fewer at the end of the file.

        Args:
            size: how many; all that follow if it is negative.
        """
        start = self.tell()
        left = max(0, self._size - start)
        length = left if size is None or size < 0 else min(size, left)
        if not length:
            return b""
        found = self._bytes(start, length)
        self._at.position = start + len(found)
        return found

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer from this thread's position on; return how many bytes there were."""
        into = memoryview(buffer).cast("B")
        found = self.read(len(into))
        into[: len(found)] = found
        return len(found)

    def _bytes(self, start: int, length: int) -> bytes:
        if self._size <= SMALL:
            return _whole(self._path.url)[start : start + length]
        return self._path.read_range(start, length)


def file_system(scheme: str) -> Any:
    """Return what DuckDB takes to read the data files of one kind of bucket.

    Args:
        scheme: of their URLs.
    """
    from fsspec import AbstractFileSystem

    class ObjectFileSystem(AbstractFileSystem):  # type: ignore[misc]
        """The few calls that DuckDB makes, answered from what is known, so that none costs a request."""

        protocol = scheme
        cachable = False

        def open(self, path: str, mode: str = "rb", **options: Any) -> ObjectFile:  # noqa: ARG002
            return ObjectFile(path)

        def info(self, path: str, **options: Any) -> dict[str, Any]:  # noqa: ARG002
            return {"name": path, "size": facts(path).size, "type": "file"}

        def exists(self, path: str, **options: Any) -> bool:  # noqa: ARG002
            return True

        def glob(self, path: str, **options: Any) -> list[str]:  # noqa: ARG002
            return [path]

        def modified(self, path: str) -> Any:
            from datetime import UTC, datetime

            return datetime.fromtimestamp(facts(path).modified, UTC)

    return ObjectFileSystem()
