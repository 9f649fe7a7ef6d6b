"""What a process remembers of data files in buckets: sizes, metadata, and whole small files. None of them changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fs_core.runtime.per_process import PerProcess
from fs_core.runtime.recent import Recent

if TYPE_CHECKING:
    import pyarrow.parquet as pq

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


class Memory:
    """What one process remembers.

    Attributes:
        facts: of files, by URL.
        contents: small files whole.
        metadata: of Parquet files.
    """

    def __init__(self) -> None:
        self.facts = Recent[str, Facts](_MOST_FILES)
        self.contents = Recent[str, bytes](MOST_BYTES)
        self.metadata: Recent[str, pq.FileMetaData] = Recent(_MOST_METADATA)

    def drop(self, url: str) -> None:
        """Forget a file that is deleted."""
        self.facts.drop(url)
        self.contents.drop(url)
        self.metadata.drop(url)


_memory = PerProcess(Memory)


def memory() -> Memory:
    """Return what this process remembers."""
    return _memory.get()
