"""The bytes of a segment: records that can be told from the rest of one that was being written when somebody died."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

_HEAD = struct.Struct("<cII")  # kind, length and checksum of what follows

BEGIN = b"B"
"""The first record: JSON that tells the state of the table when the segment was begun, then the schema of its rows."""
ROWS = b"R"
"""Rows that were pushed together, as one message of an Arrow stream."""
TAKEN = b"T"
"""JSON that tells how far a batch brings partitions of streams, then its rows, as one message or none."""
FOLDING = b"F"
"""The last record, which has no payload: somebody has begun to bring the rows into the table."""

_OF_ROWS = re.compile(b"[RT]")


class Content(NamedTuple):
    """What a segment holds.

    Attributes:
        state: the newest state of the table when it was begun.
        rows: all rows that can be read, in the order in which they came; None where no record can be read.
        after: how far they bring partitions of streams.
        unfinished: bytes at the end that are no whole record: nobody was told that they are there.
        damaged: bytes that can't be read, as their disk has changed them.
    """

    state: int
    rows: pa.Table | None
    after: Mapping[str, int]
    unfinished: int
    damaged: int


def begin(state: int, schema: pa.Schema) -> bytes:
    """Return the first record of a segment whose rows have a schema."""
    return record(BEGIN, _headed({"state": state}, schema.serialize().to_pybytes()))


def pushed(rows: pa.Table) -> bytes:
    """Return a record of rows that were pushed, at least one, few enough for one message."""
    return record(ROWS, _message(rows))


def taken(rows: pa.Table, after: Mapping[str, int]) -> bytes:
    """Return a record of a batch of a stream.

    Args:
        rows: what became of its messages, few enough for one message; there may be none.
        after: how far they bring partitions.
    """
    return record(TAKEN, _headed({"after": {name: int(position) for name, position in after.items()}}, _message(rows)))


def record(kind: bytes, payload: bytes) -> bytes:
    """Return a record."""
    return _HEAD.pack(kind, len(payload), zlib.crc32(payload)) + payload


def parse(data: bytes) -> Content:
    """Return what the bytes of a segment hold; without its first record, which has the schema, no row can be read."""
    found, unfinished, damaged = _sound(data)
    if not found:
        return Content(-1, None, {}, unfinished, damaged)
    state, schema = _begun(found[0][1])
    messages = [_split(payload)[1] if kind == TAKEN else payload for kind, payload in found if kind in (ROWS, TAKEN)]
    batches = [pa.ipc.read_record_batch(pa.py_buffer(bytes(part)), schema) for part in messages if part]
    rows = pa.Table.from_batches(batches, schema) if messages else None
    return Content(state, rows, _reached(found), unfinished, damaged)


def reached(data: bytes) -> dict[str, int]:
    """Return how far the bytes of a segment bring partitions of streams, as `parse` does, without reading rows."""
    return _reached(_sound(data)[0])


def _reached(found: list[tuple[bytes, memoryview]]) -> dict[str, int]:
    return furthest(*(_split(payload)[0]["after"] for kind, payload in found if kind == TAKEN))


def furthest(*after: Mapping[str, int]) -> dict[str, int]:
    """Return the greatest position of each partition; positions increase."""
    known = dict[str, int]()
    for positions in after:
        known |= {name: max(position, known.get(name, position)) for name, position in positions.items()}
    return known


def _sound(data: bytes) -> tuple[list[tuple[bytes, memoryview]], int, int]:
    """Return kinds and payloads of the sound records, how many bytes are unfinished, and how many damaged."""
    found, end, damaged = list[tuple[bytes, memoryview]](), 0, 0
    for kind, payload, size in _records(memoryview(data)):
        end += size
        if kind and (found or kind == BEGIN):
            found.append((kind, payload))
        else:
            damaged += size
    return found, len(data) - end, damaged


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
    is_known = kind == FOLDING if not length else kind in (BEGIN, ROWS, TAKEN)
    is_whole = is_known and end <= len(data) and zlib.crc32(data[start:end]) == checksum
    return (kind, data[start:end], end) if is_whole else (b"", data[:0], end)


def _next(data: memoryview, start: int) -> int | None:
    """Return where the next record of rows begins; other kinds are so short that bytes of rows may look like them."""
    begins = (match.start() for match in _OF_ROWS.finditer(data, start))
    return next((position for position in begins if _at(data, position)[0]), None)


def _begun(payload: memoryview) -> tuple[int, pa.Schema]:
    head, schema = _split(payload)
    return int(head["state"]), pa.ipc.read_schema(pa.py_buffer(bytes(schema)))


def _message(rows: pa.Table) -> bytes:
    """Return rows as one message, nothing where there are none."""
    if not rows.num_rows:
        return b""
    (batch,) = rows.combine_chunks().to_batches()
    message: bytes = batch.serialize().to_pybytes()
    return message


def _headed(head: Mapping[str, Any], rest: bytes) -> bytes:
    text = json.dumps(head).encode()
    return struct.pack("<I", len(text)) + text + rest


def _split(payload: memoryview) -> tuple[dict[str, Any], memoryview]:
    """Return the JSON at the beginning of a payload, and what follows it."""
    (length,) = struct.unpack_from("<I", payload)
    head: dict[str, Any] = json.loads(bytes(payload[4 : 4 + length]))
    return head, payload[4 + length :]
