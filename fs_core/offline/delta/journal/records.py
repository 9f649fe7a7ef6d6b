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
        rows: all rows, in the order in which they were pushed; None where there is none.
        lost: bytes at the end that are no whole record.
    """

    state: int
    rows: pa.Table | None
    lost: int


def begin(state: int, schema: pa.Schema) -> bytes:
    """Return the first record of a segment whose rows have a schema."""
    head = json.dumps({"state": state}).encode()
    return record(BEGIN, struct.pack("<I", len(head)) + head + schema.serialize().to_pybytes())


def record(kind: bytes, payload: bytes) -> bytes:
    """Return a record."""
    return _HEAD.pack(kind, len(payload), zlib.crc32(payload)) + payload


def parse(data: bytes) -> Content | None:
    """Return what the bytes of a segment hold; None if not even its first record is whole."""
    found, end = list[tuple[bytes, memoryview]](), 0
    for kind, payload in _records(memoryview(data)):
        found.append((kind, payload))
        end += _HEAD.size + len(payload)
    if not found:
        return None
    state, schema = _begun(found[0][1])
    batches = [
        pa.ipc.read_record_batch(pa.py_buffer(bytes(payload)), schema) for kind, payload in found if kind == ROWS
    ]
    return Content(state, pa.Table.from_batches(batches, schema) if batches else None, len(data) - end)


def _records(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield kinds and payloads until the end, or the first record that isn't whole."""
    position = 0
    while position + _HEAD.size <= len(data):
        kind, length, checksum = _HEAD.unpack_from(data, position)
        payload = data[position + _HEAD.size : position + _HEAD.size + length]
        if len(payload) < length or zlib.crc32(payload) != checksum or kind not in (BEGIN, ROWS, FOLDING):
            return
        yield kind, payload
        position += _HEAD.size + length


def _begun(payload: memoryview) -> tuple[int, pa.Schema]:
    (length,) = struct.unpack_from("<I", payload)
    head: dict[str, Any] = json.loads(bytes(payload[4 : 4 + length]))
    return int(head["state"]), pa.ipc.read_schema(pa.py_buffer(bytes(payload[4 + length :])))
