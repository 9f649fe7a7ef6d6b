"""How a view's rows lie in bytes, and how a batch of them is checked at once. `fs_core.online.codec` draws it.

The checksum of rows of one length is a multilinear hash. Take the bytes after it as little-endian words of
32 bits: `w[1]` the last one (it may overlap the one before), `w[2] ... w[k]` all of them from the first
on. With numbers `m[0] ... m[k]` of 64 bits, which SHAKE-256 gives, it is the upper half of
`m[0] + m[1] w[1] + ... + m[k] w[k]` modulo 2**64. For random `m`, two different rows share it once in 2**32
(Lemire and Kaser, "Strongly universal string hashing is fast", 2014): as rarely as CRC-32, and one product
in NumPy computes it for all rows of a batch.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.online.cells import Cells, Flags, cell_type, is_fixed, window
from fs_core.online.variable import stream_count

FORMAT = 2
_START = 4  # where the bytes begin that the checksum covers
_WORD = np.dtype("<u4")
_Checksums = np.ndarray[Any, np.dtype[np.uint32]]


@dataclass(frozen=True, eq=False)
class Layout:
    """What follows from a view alone.

    Attributes:
        tag: marks the rows of this meaning in this format.
        head: the type of a row's part that is equally long in all rows.
        features: the features and their types, in order.
        has_streams: whether rows go on behind their heads.
    """

    tag: int
    head: np.dtype[Any]
    features: Mapping[str, pa.DataType]
    has_streams: bool

    def read(self, values: Sequence[bytes | None]) -> tuple[Sequence[bytes], Cells, Flags]:
        """Return the rows, their heads and which are sound; what isn't there or sound is all zeros."""
        size = self.head.itemsize
        rows, heads = self._heads(values, size)
        sound = (self._checksums(rows, heads) == heads["__checksum"]) & (heads["__tag"] == self.tag)
        if self.has_streams:
            lengths = np.fromiter(map(len, rows), np.int64, len(rows))
            sound &= heads["__sizes"].sum(axis=1, dtype=np.int64) + size == lengths
        if not sound.all():
            heads = heads.copy()
            heads[~sound] = np.zeros((), self.head)
        return rows, heads, sound

    def _heads(self, values: Sequence[bytes | None], size: int) -> tuple[Sequence[bytes], Cells]:
        blank = bytes(size)
        if self.has_streams:
            rows = [blank if v is None or len(v) < size else v for v in values]
            return rows, np.frombuffer(b"".join([row[:size] for row in rows]), self.head)
        if None in values or set(map(len, values)) - {size}:  # type: ignore[arg-type]
            values = [blank if v is None or len(v) != size else v for v in values]
        return values, np.frombuffer(b"".join(values), self.head)  # type: ignore[return-value, arg-type]

    def _checksums(self, rows: Sequence[bytes], heads: Cells) -> _Checksums:
        if self.has_streams:  # their lengths differ, and they are cut one by one in any case
            return np.fromiter((zlib.crc32(row[_START:]) for row in rows), np.uint32, len(rows))
        return checksums(heads)


@lru_cache(maxsize=1024)
def layout_of(view: FeatureView) -> Layout:
    """Return the layout of a view's rows."""
    digest = hashlib.sha256(f"{FORMAT}:{view.digest}".encode()).digest()
    cells = [(name, cell_type(dtype)) for name, dtype in view.features.items() if is_fixed(dtype)]
    streams = sum(stream_count(dtype) for dtype in view.features.values() if not is_fixed(dtype))
    # Names with two underscores in front are reserved: no feature's name is one of ours.
    start = [
        ("__checksum", "<u4"),
        ("__tag", "<u4"),
        ("__order", ">u8", (3,)),
        ("__flags", "u1", ((len(view.features) + 7) // 8,)),
    ]
    head = np.dtype([*start, *cells, ("__sizes", "<u4", (streams,))])
    return Layout(int.from_bytes(digest[:4], "little"), head, view.features, streams > 0)


def checksums(heads: Cells) -> _Checksums:
    """Return the checksum of each row, uint32 [n], of what follows its first four bytes."""
    size = heads.dtype.itemsize
    numbers = _multipliers(words := (size - _START) // 4)
    cells = window(heads, _START, _WORD, words).astype(np.uint64)
    last = window(heads, size - 4, _WORD, 1)[:, 0].astype(np.uint64)
    mixed = cells @ numbers[2:] + last * numbers[1] + numbers[0]
    return np.asarray(mixed >> np.uint64(32), dtype=np.uint32)


@lru_cache(maxsize=1024)
def _multipliers(words: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    drawn = hashlib.shake_256(b"fs_core row checksum").digest(8 * (words + 2))
    return np.frombuffer(drawn, "<u8").astype(np.uint64)
