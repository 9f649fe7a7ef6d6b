"""The packed row: what an online store keeps of one entity of one view.

    bytes 0-4     CRC-32 of all that follows, little-endian
    bytes 4-8     tag: the first bytes of SHA-256 over the view's digest and this format's number
    bytes 8-32    order: event_time, a, seq, each 64 bits, big-endian, sign bit flipped
    then          one bit for each feature, set where it isn't null, least significant first
    then          fixed-width features, little-endian, in order; zero where null
    then          other features, in order: 4-byte length (little-endian), then the bytes; nothing where null

A row that is truncated, damaged or of another view's meaning fails the checksum or the tag, and is
reported, never read.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.asof import AVAILABLE_AT, EVENT_TIME, SEQ
from fs_core.definitions import FeatureView
from fs_core.online.cells import Bytes, Flags, from_cells, is_fixed, one_array, to_cells, width
from fs_core.online.contract import ORDER, OnlineWrite
from fs_core.online.variable import from_bytes, to_bytes

FORMAT = 1
ONLINE_GRACE_MICROS = 86_400_000_000
"""How long past its expiry a row is kept at least: reads at a moment this recent are still answered."""

_SIGN = np.uint64(1 << 63)
_LENGTH = np.dtype("<u4")
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
    """Packs and reads the rows of one view."""

    def __init__(self, view: FeatureView) -> None:
        self._view = view
        self._tag = hashlib.sha256(f"{FORMAT}:{view.digest}".encode()).digest()[:4]
        self._fixed = [name for name, dtype in view.features.items() if is_fixed(dtype)]
        self._variable = [name for name in view.features if name not in self._fixed]
        self._places = {name: place for place, name in enumerate(view.features)}
        self._flags_end = ORDER.stop + (len(view.features) + 7) // 8
        self._fixed_end = self._flags_end + sum(width(view.features[name]) for name in self._fixed)

    def keys(self, table: pa.Table) -> list[bytes | None]:
        """Return each row's key bytes, None where a part is null.

        Args:
            table: holds the view's key columns, in the view's types.

        Fixed-width parts are their bytes, others carry their length: no two keys share bytes.
        """
        parts = [_key_part(one_array(table[name])) for name in self._view.keys]
        if len(parts) == 1:
            return parts[0]
        return [None if None in row else b"".join(row) for row in zip(*parts, strict=True)]

    def encode(self, rows: pa.Table) -> list[OnlineWrite]:
        """Return the packed rows of a table in `history_schema(view)`, in its order."""
        event_time = _numbers(rows[EVENT_TIME])
        head = np.zeros((rows.num_rows, self._fixed_end), np.uint8)
        order = np.stack([event_time, _numbers(rows[AVAILABLE_AT]), _numbers(rows[SEQ])], axis=1)
        head[:, ORDER] = (order.view(np.uint64) ^ _SIGN).astype(">u8").view(np.uint8).reshape(-1, 24)
        valid = np.zeros((rows.num_rows, len(self._places)), bool)
        place = self._flags_end
        for name in self._fixed:
            cells, valid[:, self._places[name]] = to_cells(one_array(rows[name]))
            head[:, place : place + cells.shape[1]] = cells
            place += cells.shape[1]
        tails = self._tails(rows, valid)
        head[:, ORDER.stop : self._flags_end] = np.packbits(valid, axis=1, bitorder="little")
        packed, size = head.tobytes(), self._fixed_end
        bodies = (self._tag + packed[i * size + 8 : (i + 1) * size] + tail for i, tail in enumerate(tails))
        sealed = [zlib.crc32(body).to_bytes(4, "little") + body for body in bodies]
        return [
            OnlineWrite(key, row, collect_at)
            for key, row, collect_at in zip(self.keys(rows), sealed, self._collect_at(event_time), strict=True)
            if key is not None
        ]

    def decode(self, values: Sequence[bytes | None]) -> DecodedRows:
        """Read packed rows; None stands for no row."""
        sound = [self._is_sound(value) for value in values]
        corrupt = [i for i, value in enumerate(values) if value is not None and not sound[i]]
        rows = [value for i, value in enumerate(values) if sound[i] and value is not None]
        joined = b"".join(row[: self._fixed_end] for row in rows) if self._variable else b"".join(rows)
        matrix = np.frombuffer(joined, np.uint8).reshape(len(rows), self._fixed_end)
        found = np.array(sound, dtype=bool)
        order = np.zeros((len(values), 3), np.int64)
        words = np.ascontiguousarray(matrix[:, ORDER]).view(">u8").astype(np.uint64) ^ _SIGN
        order[found] = words.view(np.int64)
        table = self._features(rows, matrix)
        if not found.all():
            place = np.cumsum(found) - 1
            table = table.take(pa.array(place, mask=~found))
        return DecodedRows(table, order[:, 0], order[:, 1], order[:, 2], found, corrupt)

    def _is_sound(self, row: bytes | None) -> bool:
        return (
            row is not None
            and len(row) >= self._fixed_end
            and row[4:8] == self._tag
            and zlib.crc32(memoryview(row)[4:]) == int.from_bytes(row[:4], "little")
        )

    def _collect_at(self, event_time: Micros) -> list[int | None]:
        ttl = self._view.ttl_micros
        if ttl is None:
            return [None] * len(event_time)
        # Rounded up to milliseconds; a store takes no moment before 1970.
        moments = np.maximum((event_time + (ttl + ONLINE_GRACE_MICROS)) // 1000 + 1, 1)
        return [int(moment) for moment in moments]

    def _tails(self, rows: pa.Table, valid: Flags) -> list[bytes]:
        tails = [b""] * rows.num_rows
        for name in self._variable:
            values = to_bytes(one_array(rows[name]))
            valid[:, self._places[name]] = [value is not None for value in values]
            tails = [
                tail if value is None else tail + len(value).to_bytes(4, "little") + value
                for tail, value in zip(tails, values, strict=True)
            ]
        return tails

    def _features(self, rows: list[bytes], matrix: Bytes) -> pa.Table:
        bits = np.unpackbits(matrix[:, ORDER.stop : self._flags_end], axis=1, bitorder="little").astype(bool)
        columns: dict[str, pa.Array] = {}
        place = self._flags_end
        for name in self._fixed:
            dtype = self._view.features[name]
            cells = matrix[:, place : place + width(dtype)]
            columns[name] = from_cells(dtype, cells, bits[:, self._places[name]])
            place += width(dtype)
        places = [self._fixed_end] * len(rows)
        for name in self._variable:
            values = [
                _taken(row, places, i) if present else None
                for i, (row, present) in enumerate(zip(rows, bits[:, self._places[name]], strict=True))
            ]
            columns[name] = from_bytes(self._view.features[name], values)
        schema = pa.schema(list(self._view.features.items()))
        return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _taken(row: bytes, places: list[int], i: int) -> bytes:
    """Return the next sized piece of row i, and move its place on."""
    start = places[i] + 4
    places[i] = start + int.from_bytes(row[start - 4 : start], "little")
    return row[start : places[i]]


def _key_part(array: pa.Array) -> list[bytes | None]:
    if not is_fixed(array.type):
        values = array.cast(pa.binary()).to_pylist()
        return [None if v is None else len(v).to_bytes(4, "little") + v for v in values]
    cells, valid = to_cells(array)
    data, size = cells.tobytes(), cells.shape[1]
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    return [piece if ok else None for piece, ok in zip(pieces, valid, strict=True)] if not valid.all() else list(pieces)


def _numbers(column: pa.ChunkedArray) -> Micros:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
