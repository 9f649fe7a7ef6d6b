"""What a process remembers of data files in buckets: sizes, metadata, and whole small files. None of them changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from fs_core.runtime.per_process import PerProcess

if TYPE_CHECKING:
    import pyarrow.parquet as pq

V = TypeVar("V")

MOST_BYTES = 64 << 20
"""Of small files, together."""

_MOST_FILES = 200_000  # whose sizes are known
_MOST_METADATA = 1_000


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
        with self._guard:
            self._weight += weight - self._held.pop(url, (None, 0))[1]
            self._held[url] = value, weight
            while self._weight > self._most:
                self._weight -= self._held.popitem(last=False)[1][1]

    def drop(self, url: str) -> None:
        """Forget a value."""
        with self._guard:
            self._weight -= self._held.pop(url, (None, 0))[1]


class Memory:
    """What one process remembers.

    Attributes:
        facts: of files, by URL.
        contents: small files whole.
        metadata: of Parquet files.
    """

    def __init__(self) -> None:
        self.facts = Recent[Facts](_MOST_FILES)
        self.contents = Recent[bytes](MOST_BYTES)
        self.metadata: Recent[pq.FileMetaData] = Recent(_MOST_METADATA)

    def drop(self, url: str) -> None:
        """Forget a file that is deleted."""
        self.facts.drop(url)
        self.contents.drop(url)
        self.metadata.drop(url)


_memory = PerProcess(Memory)


def memory() -> Memory:
    """Return what this process remembers."""
    return _memory.get()
