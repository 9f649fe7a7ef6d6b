"""The packed row: what an online store keeps of one entity of one view.

    bytes 0-4     CRC-32 of all that follows, little-endian
    bytes 4-8     tag: the first bytes of SHA-256 over the view's digest and this format's number
    bytes 8-32    order: event_time, a, seq, each 64 bits, big-endian, sign bit flipped
    then          one bit for each feature, set where it isn't null, least significant first
    then          fixed-width features, little-endian, in order; zero where null
    then          lengths of the other features' streams, 4 bytes each, little-endian, in order
    then          those streams (`fs_core.online.variable` says which a type has), one after the other

Up to the streams all rows of a view are equally long, so a batch of them is read as one NumPy array.
A row that is truncated, damaged or of another view's meaning fails the checksum, the tag or the
length, and is reported, never read.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.asof import AVAILABLE_AT, EVENT_TIME, SEQ
from fs_core.definitions import FeatureView
from fs_core.online.cells import Cells, Flags, Sizes, cell_type, from_cells, is_fixed, one_array, to_cells
from fs_core.online.contract import OnlineRows
from fs_core.online.variable import Pieces, are_sound, from_streams, stream_count, to_streams
from fs_core.times import EARLIEST, LATEST

FORMAT = 1
ONLINE_GRACE_MICROS = 86_400_000_000
"""How long past its expiry a row is kept at least: reads at a moment this recent are still answered."""

_SIGN = np.uint64(1 << 63)
_CHECKSUM = struct.Struct("<I")
Micros = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class DecodedRows:
    """Packed rows, read.

    Attributes:
        table: the features in their declared types, null where `found` is false; n rows.
        event_time: int64 microseconds [n], 0 where not found.
        available_at: int64 microseconds [n], 0 where not found.
        seq: int64 [n], 0 where not found.
        found: bool [n], whether there was a sound row.
        corrupt: places of rows that were there but not sound.
    """

    table: pa.Table
    event_time: Micros
    available_at: Micros
    seq: Micros
    found: Flags
    corrupt: list[int]


class RowCodec:
    """Packs and reads the rows of one view. Cheap to make, thread-safe, and pickles as its view."""

    def __init__(self, view: FeatureView) -> None:
        self._view = view
        self._layout = _layout(view)

    def __reduce__(self) -> tuple[Any, ...]:
        return RowCodec, (self._view,)

    def keys(self, table: pa.Table) -> list[bytes | None]:
        """Return each row's key bytes, None where a part is null.

        Args:
            table: holds the view's key columns, in the view's types.

        Fixed-width parts are their bytes, big-endian, others carry their length: no two keys share bytes.
        """
        parts = [_key_part(one_array(table[name])) for name in self._view.keys]
        if len(parts) == 1:
            return parts[0]
        return [None if None in row else b"".join(row) for row in zip(*parts, strict=True)]

    def encode(self, rows: pa.Table) -> OnlineRows:
        """Return the packed rows of a table in `history_schema(view)`, in its order.

        The keys must not be null: history holds no such rows.
        """
        layout, features = self._layout, self._view.features
        heads = np.zeros(rows.num_rows, layout.head)
        valid = np.zeros((rows.num_rows, len(features)), bool)
        event_time = _numbers(rows[EVENT_TIME])
        order = np.stack([event_time, _numbers(rows[AVAILABLE_AT]), _numbers(rows[SEQ])], axis=1)
        heads["__tag"], heads["__order"] = layout.tag, order.view(np.uint64) ^ _SIGN
        streams = []
        for place, (name, dtype) in enumerate(features.items()):
            if is_fixed(dtype):
                heads[name], valid[:, place] = to_cells(one_array(rows[name]))
            else:
                parts, valid[:, place] = to_streams(one_array(rows[name]))
                streams += parts
        heads["__flags"] = np.packbits(valid, axis=1, bitorder="little")
        for place, stream in enumerate(streams):
            heads["__sizes"][:, place] = stream.sizes
        sealed = _sealed(heads, [stream.pieces() for stream in streams])
        return OnlineRows(self.keys(rows), sealed, self._collect_at(event_time))  # type: ignore[arg-type]  # no null keys

    def decode(self, values: Sequence[bytes | None]) -> DecodedRows:
        """Read packed rows; None stands for no row."""
        rows, heads, found = self._layout.read(values)
        columns, sound = self._columns(rows, heads)
        if not sound.all():  # a right checksum on wrong lengths: nothing we wrote, nothing to read
            return self.decode([value if ok else b"" for value, ok in zip(values, sound, strict=True)])
        order = (heads["__order"].astype(np.uint64) ^ _SIGN).view(np.int64)
        order[~found] = 0
        corrupt = [i for i in np.flatnonzero(~found).tolist() if values[i] is not None]
        table = pa.Table.from_arrays(columns, schema=self._layout.schema)
        return DecodedRows(table, order[:, 0], order[:, 1], order[:, 2], found, corrupt)

    def _columns(self, rows: Sequence[bytes], heads: Cells) -> tuple[list[pa.Array], Flags]:
        """Return the features, and which rows' streams fit their types; where one doesn't, read no column of it."""
        valid: Flags = np.unpackbits(heads["__flags"], axis=1, bitorder="little").view(bool)
        whole = np.all(valid, axis=0).tolist()
        streams = _taken(rows, heads) if self._layout.has_streams else []
        columns: list[pa.Array] = []
        sound = np.ones(len(rows), dtype=bool)
        for place, (name, dtype) in enumerate(self._view.features.items()):
            if is_fixed(dtype):
                columns.append(from_cells(dtype, heads[name], None if whole[place] else valid[:, place]))
                continue
            mine, streams = streams[: stream_count(dtype)], streams[stream_count(dtype) :]
            fits = are_sound(dtype, valid[:, place], mine)
            columns += [from_streams(dtype, valid[:, place], mine)] if fits.all() else []
            sound &= fits
        return columns, sound

    def _collect_at(self, event_time: Micros) -> list[int] | None:
        ttl = self._view.ttl_micros
        if ttl is None or ttl > LATEST - EARLIEST:
            return None
        # Rounded up to milliseconds; a store takes no moment before 1970.
        collect_at: list[int] = np.maximum((event_time + (ttl + ONLINE_GRACE_MICROS)) // 1000 + 1, 1).tolist()
        return collect_at


@dataclass(frozen=True)
class _Layout:
    """What follows from a view alone: its tag, the types of its columns and of a row's equally long part."""

    tag: int
    head: np.dtype[Any]
    schema: pa.Schema
    has_streams: bool

    def read(self, values: Sequence[bytes | None]) -> tuple[list[bytes], Cells, Flags]:
        """Return the rows, their heads and which are sound; what isn't there or sound is all zeros."""
        least, blank = self.head.itemsize, bytes(self.head.itemsize)
        if self.has_streams:
            rows = [blank if v is None or len(v) < least else v for v in values]
            heads = np.frombuffer(b"".join([row[:least] for row in rows]), self.head)
        else:
            rows = [blank if v is None or len(v) != least else v for v in values]
            heads = np.frombuffer(b"".join(rows), self.head)
        checksums = np.fromiter((zlib.crc32(row[4:]) for row in rows), np.uint32, len(rows))
        sound = (checksums == heads["__checksum"]) & (heads["__tag"] == self.tag)
        if self.has_streams:
            sizes = np.fromiter(map(len, rows), np.int64, len(rows))
            sound &= heads["__sizes"].sum(axis=1, dtype=np.int64) + least == sizes
        if not sound.all():
            heads = heads.copy()
            heads[~sound] = np.zeros((), self.head)
        return rows, heads, sound


@lru_cache(maxsize=1024)
def _layout(view: FeatureView) -> _Layout:
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
    return _Layout(int.from_bytes(digest[:4], "little"), head, pa.schema(list(view.features.items())), streams > 0)


def _sealed(heads: Cells, streams: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Return each head with its pieces of the streams behind it and its checksum in front."""
    if not streams:
        heads["__checksum"] = [zlib.crc32(body) for body in _cut(heads, 4)]
        return _cut(heads, 0)
    bodies = [b"".join(parts) for parts in zip(_cut(heads, 4), *streams, strict=True)]
    return [_CHECKSUM.pack(zlib.crc32(body)) + body for body in bodies]


def _cut(rows: Cells, start: int) -> list[bytes]:
    """Return each row's bytes from a place on."""
    data, size = rows.tobytes(), rows.dtype.itemsize
    return [data[end - size + start : end] for end in range(size, len(data) + 1, size)]


def _taken(rows: Sequence[bytes], heads: Cells) -> list[Pieces]:
    """Return each stream of sound rows; the others have empty ones."""
    sizes = heads["__sizes"].astype(np.int64)
    ends = heads.dtype.itemsize + np.cumsum(sizes, axis=1)
    taken = []
    for place in range(sizes.shape[1]):
        stop = ends[:, place]
        cuts = zip(rows, (stop - sizes[:, place]).tolist(), stop.tolist(), strict=True)
        taken.append(Pieces(b"".join([row[a:b] for row, a, b in cuts]), sizes[:, place]))
    return taken


def _key_part(array: pa.Array) -> list[bytes | None]:
    if not is_fixed(array.type):
        values = array.cast(pa.binary()).to_pylist()
        return [None if v is None else len(v).to_bytes(4, "big") + v for v in values]
    cells, valid = to_cells(array)
    size = cells.dtype.itemsize
    # Big-endian, so that neighbouring numbers are neighbours in a store that sorts its keys.
    flipped = np.ascontiguousarray(cells.view(np.uint8).reshape(-1, size)[:, ::-1])
    pieces: list[bytes | None] = flipped.view(f"V{size}").ravel().tolist()
    return pieces if valid.all() else [piece if ok else None for piece, ok in zip(pieces, valid, strict=True)]


def _numbers(column: pa.ChunkedArray) -> Sizes:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
