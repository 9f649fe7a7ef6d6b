"""How a view's rows lie in bytes, and how a batch of them is checked at once. `fs_core.online.row.codec` draws it.

A row's seal is a checksum of the bytes after it, exclusive-or a tag of what they mean and the CRC-32 of the key
that they belong to. The checksum of rows of one length is a multilinear hash. Take those bytes as little-endian
words of 32 bits: `w[1]` the last one (it may overlap the one before), `w[2] ... w[k]` all of them from the first
on. With numbers `m[0] ... m[k]` of 64 bits, which SHAKE-256 gives, it is the upper half of
`m[0] + m[1] w[1] + ... + m[k] w[k]` modulo 2**64. For random `m`, two different rows share it once in 2**32
(Lemire and Kaser, "Strongly universal string hashing is fast", 2014): as rarely as CRC-32, and one product
in NumPy computes it for all rows of a batch.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import mul
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.online.row.cells import Cells, Flags, cell_type, is_fixed, window
from fs_core.online.row.variable import stream_count

FORMAT = 3
_FEW = 8  # rows that are checked one by one
_START = 4  # where the bytes begin that the seal covers
_WORD = np.dtype("<u4")
_HALF = np.uint64(32)
_Seals = np.ndarray[Any, np.dtype[np.uint64]]
Hashes = np.ndarray[Any, np.dtype[np.uint64]]
"""The CRC-32 of keys."""


@dataclass(frozen=True, eq=False)
class Layout:
    """What follows from a view alone.

    Attributes:
        tag: marks the rows of this meaning in this format, 32 bits.
        head: the type of a row's part that is equally long in all rows.
        features: the features and their types, in order.
        has_streams: whether rows go on behind their heads.
    """

    tag: int
    head: np.dtype[Any]
    features: Mapping[str, pa.DataType]
    has_streams: bool

    @cached_property
    def size(self) -> int:
        """The bytes of a head."""
        return self.head.itemsize

    @cached_property
    def blank(self) -> bytes:
        """A head of zeros, which stands for no row."""
        return bytes(self.size)

    @cached_property
    def opaque(self) -> np.dtype[Any]:
        """The type of heads as bytes that nobody looks into, so that NumPy moves each as a whole."""
        return np.dtype(f"V{self.size}")

    def read(
        self, keys: Sequence[bytes], values: Sequence[bytes | None], hashes: Callable[[], Hashes] | None = None
    ) -> tuple[Sequence[bytes], Cells, Flags | None]:
        """Return the rows, their heads and which are sound, None where all are; what isn't there or sound is zeros.

        Args:
            keys: whose rows they are.
            values: what is stored under each, None for nothing.
            hashes: gives `hashes_of(keys)`, for who needs them, too.
        """
        rows, heads = self._heads(values)
        if len(rows) <= _FEW and not self.has_streams:
            if all(map(self._is_sound, keys, rows)):
                return rows, heads, None
            sound = np.fromiter(map(self._is_sound, keys, rows), bool, len(rows))
        else:
            tags = self._tags(keys, rows, heads, hashes)
            if rows is values and tags.tobytes() == self._tag.tobytes() * len(rows):  # mostly
                return rows, heads, None
            sound = tags == self._tag
            if rows is not values:  # blanks may stand among them
                sound &= np.fromiter((row is not self.blank for row in rows), bool, len(rows))
        if self.has_streams:
            lengths = np.fromiter(map(len, rows), np.int64, len(rows))
            sound &= heads["__sizes"].sum(axis=1, dtype=np.int64) + self.size == lengths
        if sound.all():
            return rows, heads, None
        if rows is values and not self.has_streams and set(map(len, values)) != {self.size}:  # type: ignore[arg-type]
            return self.read(keys, [row if len(row) == self.size else b"" for row in rows], hashes)
        heads = heads.copy()
        heads[~sound] = np.zeros((), self.head)
        return rows, heads, sound

    def _heads(self, values: Sequence[bytes | None]) -> tuple[Sequence[bytes], Cells]:
        size, blank = self.size, self.blank
        if self.has_streams:
            rows = [blank if v is None or len(v) < size else v for v in values]
            return rows, np.frombuffer(b"".join([row[:size] for row in rows]), self.head)
        joined = _joined(values)
        # Rows of other lengths may be as long together: then seals differ, and they are looked at one by one.
        if (
            joined is None
            or len(joined) != size * len(values)
            or (len(values) <= _FEW and set(map(len, values)) != {size})  # type: ignore[arg-type]  # none is None
        ):
            rows = [blank if v is None or len(v) != size else v for v in values]
            return rows, np.frombuffer(b"".join(rows), self.head)
        return values, np.frombuffer(joined, self.head)  # type: ignore[return-value]

    def _is_sound(self, key: bytes, row: bytes) -> bool:
        """Return for one row without streams what `read` returns for many: NumPy takes longer for few."""
        first, last, *others = self._numbers
        mixed = first + last * int.from_bytes(row[-4:], "little")
        mixed += sum(map(mul, self._words.unpack_from(row, _START), others))
        seal: int = (mixed >> 32 & 0xFFFFFFFF) ^ self.tag ^ zlib.crc32(key)
        return int.from_bytes(row[:_START], "little") == seal and row is not self.blank

    @cached_property
    def _tag(self) -> np.uint64:
        return np.uint64(self.tag)

    @cached_property
    def _words(self) -> struct.Struct:
        return struct.Struct(f"<{(self.size - _START) // 4}I")

    @cached_property
    def _numbers(self) -> list[int]:
        return list(map(int, _multipliers((self.size - _START) // 4)))

    def seals(self, keys: Sequence[bytes], heads: Cells, hashes: Callable[[], Hashes] | None = None) -> _Seals:
        """Return the seal of each row without streams, uint64 [n].

        Args:
            keys: whose rows they are.
            heads: the rows.
            hashes: gives `hashes_of(keys)`, for who needs them, too.
        """
        return _untagged(keys, heads, hashes) ^ self._tag

    def seal(self, key: bytes, body: bytes) -> int:
        """Return the seal of a row with streams, given all that follows it."""
        return zlib.crc32(body) ^ zlib.crc32(key) ^ self.tag

    def _tags(
        self, keys: Sequence[bytes], rows: Sequence[bytes], heads: Cells, hashes: Callable[[], Hashes] | None
    ) -> _Seals:
        """Return the tag that each row's seal stands for, uint64 [n]; a row is sound where that is ours."""
        if self.has_streams:  # their lengths differ, and they are cut one by one in any case
            pairs = zip(keys, rows, strict=True)
            tags = np.fromiter((self.seal(key, row[_START:]) for key, row in pairs), np.uint64, len(rows)) ^ self._tag
        else:
            tags = _untagged(keys, heads, hashes)
        tags ^= heads["__seal"]
        return tags


def _untagged(keys: Sequence[bytes], heads: Cells, hashes: Callable[[], Hashes] | None) -> _Seals:
    """Return what `Layout.seals` does, without the tag."""
    found = _sums(heads)
    found >>= _HALF
    found ^= hashes_of(keys) if hashes is None else hashes()
    return found


def _joined(rows: Sequence[bytes | None]) -> bytes | None:
    """Return rows one after the other; None where one isn't there."""
    try:
        return b"".join(rows)  # type: ignore[arg-type]  # None is what it finds out
    except TypeError:
        return None


def hashes_of(keys: Sequence[bytes]) -> Hashes:
    """Return the CRC-32 of each key, uint64 [n]."""
    return np.fromiter(map(zlib.crc32, keys), np.uint64, len(keys))


@lru_cache(maxsize=1024)
def layout_of(view: FeatureView) -> Layout:
    """Return the layout of a view's rows."""
    cells = [(name, cell_type(dtype)) for name, dtype in view.features.items() if is_fixed(dtype)]
    streams = sum(stream_count(dtype) for dtype in view.features.values() if not is_fixed(dtype))
    # Names with two underscores in front are reserved: no feature's name is one of ours.
    start = [
        ("__seal", "<u4"),
        ("__clocks", ">u8", (2,)),
        ("__seq", ">u2", (3,)),
        ("__flags", "u1", ((len(view.features) + 7) // 8,)),
    ]
    head = np.dtype([*start, *cells, ("__sizes", "<u4", (streams,))])
    digest = hashlib.sha256(f"{FORMAT}:{view.digest}".encode()).digest()
    return Layout(int.from_bytes(digest[:4], "little"), head, view.features, streams > 0)


def checksums(heads: Cells) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Return the checksum of each row, uint32 [n], of what follows its first four bytes."""
    return np.asarray(_sums(heads) >> _HALF, dtype=np.uint32)


def _sums(heads: Cells) -> _Seals:
    """Return the sum whose upper half is the checksum, for each row."""
    size = heads.dtype.itemsize
    first, last, others = _numbers(size)
    # As 64 bits first: NumPy is slow at a product of two widths.
    found: _Seals = window(heads, _START, _WORD, len(others)).astype(np.uint64).dot(others)
    found += first
    if last:
        found += window(heads, size - 4, _WORD, 1)[:, 0] * last
    return found


@lru_cache(maxsize=1024)
def _numbers(size: int) -> tuple[np.uint64, np.uint64, _Seals]:
    """Return the number of no word, of the last where it overlaps the one before, and of each that is left."""
    drawn = _multipliers((size - _START) // 4)
    first, last, others = drawn[0], drawn[1], drawn[2:].copy()
    if size % 4:
        return first, last, others
    others[-1:] += drawn[1:2]
    return first, np.uint64(0), others


@lru_cache(maxsize=1024)
def _multipliers(words: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    drawn = hashlib.shake_256(b"fs_core row checksum").digest(8 * (words + 2))
    return np.frombuffer(drawn, "<u8").astype(np.uint64)
