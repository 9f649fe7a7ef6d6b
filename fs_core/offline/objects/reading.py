"""Data files in a bucket: read by ranges, small ones whole and many at once, and known to DuckDB.

A data file never changes, so what was read of one stays right. This process remembers sizes, the metadata of Parquet
files, and whole small files up to some megabytes.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from fs_core.offline.objects.path import ObjectPath, is_object, located
from fs_core.runtime.per_process import PerProcess

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

V = TypeVar("V")

SMALL = 256 << 10
"""Bytes of a file that is read whole: a request takes about as long as so many bytes."""

_MOST_BYTES = 64 << 20  # of small files that are kept
_MOST_FILES = 200_000  # whose sizes are known
_MOST_METADATA = 1_000
_AT_ONCE = 32  # requests


class Facts(NamedTuple):
    """What is known of a data file.

    Attributes:
        size: bytes.
        modified: when it was written, seconds since 1970.
    """

    size: int
    modified: float


class Recent(Generic[V]):
    """Values by URL, up to a weight; the one that was asked for longest ago goes first. Thread-safe.

    Args:
        most: their weight together.
    """

    def __init__(self, most: int) -> None:
        self._most, self._weight = most, 0
        self._held: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, url: str) -> V | None:
        """Return a value, None if it isn't there."""
        with self._guard:
            if url not in self._held:
                return None
            self._held.move_to_end(url)
            return self._held[url][0]

    def put(self, url: str, value: V, weight: int = 1) -> None:
        """Keep a value.

        Args:
            url: of what.
            value: it.
            weight: its own.
        """
        self.drop(url)
        with self._guard:
            self._held[url] = value, weight
            self._weight += weight
            while self._weight > self._most:
                self._weight -= self._held.popitem(last=False)[1][1]

    def drop(self, url: str) -> None:
        """Forget a value."""
        with self._guard:
            self._weight -= self._held.pop(url, (None, 0))[1]


class _Known:
    """What a process remembers of data files."""

    def __init__(self) -> None:
        self.facts = Recent[Facts](_MOST_FILES)
        self.contents = Recent[bytes](_MOST_BYTES)
        self.metadata = Recent[pq.FileMetaData](_MOST_METADATA)
        self.threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fs_core_objects")


_known = PerProcess(_Known)


def note(url: str, size: int, modified: float) -> None:
    """Remember what a listing or a log says of a data file, so that nobody asks for it.

    Args:
        url: the file's.
        size: bytes.
        modified: seconds since 1970.
    """
    _known.get().facts.put(url, Facts(size, modified))


def facts(file: str) -> Facts:
    """Return the size of a data file and when it was written.

    Raises:
        OSError: nobody knows it, and it can't be asked for.
    """
    found = _known.get().facts.get(file) if is_object(file) else None
    if found is None:
        stat = located(file).stat()
        found = Facts(stat.st_size, stat.st_mtime)
        if is_object(file):
            _known.get().facts.put(file, found)
    return found


def forget_cached(url: str) -> None:
    """Drop what is remembered of a file that is deleted."""
    known = _known.made()
    for held in () if known is None else (known.facts, known.contents, known.metadata):
        held.drop(url)


def parquet_file(file: str) -> pq.ParquetFile:
    """Open a data file, on this machine or in a bucket.

    Raises:
        OSError, pa.ArrowException: it isn't there, or no Parquet file.
    """
    if not is_object(file):
        return pq.ParquetFile(file)
    known = _known.get()
    metadata = known.metadata.get(file)
    opened = pq.ParquetFile(pa.PythonFile(ObjectFile(file), "r"), metadata=metadata, pre_buffer=True)
    if metadata is None:
        known.metadata.put(file, opened.metadata)
    return opened


def fetch_small(files: Sequence[str]) -> None:
    """Have those of some data files at hand that are small, by requests that don't wait for each other."""
    known = _known.get()
    wanted, size = list[str](), 0
    for file in files:
        found = known.facts.get(file) if is_object(file) else None
        if found is None or found.size > SMALL or known.contents.get(file) is not None:
            continue
        size += found.size
        if size > _MOST_BYTES:
            break
        wanted.append(file)
    if len(wanted) > 1:
        list(known.threads.map(_whole, wanted))


def each_at_once(work: Any, items: Sequence[Any]) -> list[Any]:
    """Return what work makes of each of some items, by requests that don't wait for each other."""
    return list(_known.get().threads.map(work, items))


def _whole(url: str) -> bytes:
    known = _known.get()
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
