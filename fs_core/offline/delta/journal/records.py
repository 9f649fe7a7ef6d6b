"""The bytes of a segment: records that can be told from the rest of one that was being written when somebody died."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa

_HEAD = struct.Struct("<cII")  # kind, length and checksum of what follows

BEGIN = b"B"
"""The first record: JSON that tells the state of the table when the segment was begun, then the schema of its rows."""
ROWS = b"R"
"""Rows that were pushed together, as one message of an Arrow stream."""
FOLDING = b"F"
"""The last record: somebody has begun to bring the rows into the table."""


class Content(NamedTuple):
    """What a segment holds.

    Attributes:
        state: the newest state of the table when it was begun.
        rows: all rows that can be read, in the order in which they were pushed; None where there is none.
        unfinished: bytes at the end that are no whole record: nobody was told that they are there.
        damaged: bytes that can't be read, as their disk has changed them.
    """

    state: int
    rows: pa.Table | None
    unfinished: int
    damaged: int


def begin(state: int, schema: pa.Schema) -> bytes:
    """Return the first record of a segment whose rows have a schema."""
    head = json.dumps({"state": state}).encode()
    return record(BEGIN, struct.pack("<I", len(head)) + head + schema.serialize().to_pybytes())


def record(kind: bytes, payload: bytes) -> bytes:
    """Return a record."""
    return _HEAD.pack(kind, len(payload), zlib.crc32(payload)) + payload


def parse(data: bytes) -> Content:
    """Return what the bytes of a segment hold; without its first record, which has the schema, no row can be read."""
    found, end, damaged = list[tuple[bytes, memoryview]](), 0, 0
    for kind, payload, size in _records(memoryview(data)):
        end += size
        if kind and (found or kind == BEGIN):
            found.append((kind, payload))
        else:
            damaged += size
    unfinished = len(data) - end
    if not found:
        return Content(-1, None, unfinished, damaged)
    state, schema = _begun(found[0][1])
    batches = [
        pa.ipc.read_record_batch(pa.py_buffer(bytes(payload)), schema) for kind, payload in found if kind == ROWS
    ]
    return Content(state, pa.Table.from_batches(batches, schema) if batches else None, unfinished, damaged)


def _records(data: memoryview) -> Iterator[tuple[bytes, memoryview, int]]:
    """Yield kinds, payloads and sizes of records until the end, or one that runs past it and that none follows.

    What can't be read has no kind and no payload. Its length may be what is damaged: so it ends where a record begins.
    """
    position = 0
    while position + _HEAD.size <= len(data):
        kind, payload, end = _at(data, position)
        if kind:
            yield kind, payload, end - position
        else:
            following = end if end == len(data) or _at(data, end)[0] else _next(data, position + 1)
            if following is None and end > len(data):
                return
            end = end if following is None else following
            yield b"", payload, end - position
        position = end


def _at(data: memoryview, position: int) -> tuple[bytes, memoryview, int]:
    """Return kind and payload of the record at a position, both empty if it isn't whole, and where it says it ends."""
    if position + _HEAD.size > len(data):
        return b"", data[:0], len(data) + 1
    kind, length, checksum = _HEAD.unpack_from(data, position)
    start, end = position + _HEAD.size, position + _HEAD.size + length
    is_whole = kind in (BEGIN, ROWS, FOLDING) and end <= len(data) and zlib.crc32(data[start:end]) == checksum
    return (kind, data[start:end], end) if is_whole else (b"", data[:0], end)


def _next(data: memoryview, start: int) -> int | None:
    """Return where the next record of rows begins; other kinds are so short that bytes of rows may look like them."""
    whole = bytes(data)
    position = whole.find(ROWS, start)
    while position >= 0:
        if _at(data, position)[0]:
            return position
        position = whole.find(ROWS, position + 1)
    return None


def _begun(payload: memoryview) -> tuple[int, pa.Schema]:
    (length,) = struct.unpack_from("<I", payload)
    head: dict[str, Any] = json.loads(bytes(payload[4 : 4 + length]))
    return int(head["state"]), pa.ipc.read_schema(pa.py_buffer(bytes(payload[4 + length :])))
