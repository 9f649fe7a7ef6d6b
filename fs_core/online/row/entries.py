"""Values to which writers add and which readers fold: entries one after the other, in any order.

    a row: a packed row's length, 4 bytes, big-endian, and the row
    or a floor: four bytes of ones, a checksum of 4 bytes as a row has, and a moment, 8 bytes, as `moment_word` has it
    or a head: three bytes of ones and one less, a checksum, a length of 4 bytes, and what it says

Floors and heads are *marks*. A view's recent rows are such values (`fs_core.online.row.recent`, which have no heads),
and so are the events of its windows (`fs_core.windows.packed`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

LENGTH = struct.Struct(">I")
"""Stands before a row, and within a head before what it says."""

SEAL = struct.Struct("<I")
"""Stands behind the four bytes by which floors and heads are known."""

FLOOR = b"\xff" * 4
FLOOR_BYTES = 16
FLOOR_CELLS = np.dtype([("mark", ">u4"), ("seal", "<u4"), ("moment", ">u8")])
HEAD = b"\xff\xff\xff\xfe"
SIGN = 1 << 63
"""What is flipped in a floor's moment."""

_HEAD_START = struct.Struct(">4sII")  # the mark, a checksum and a length


def moment_word(micros: int) -> bytes:
    """Return a moment as rows carry it: eight bytes that compare as moments do."""
    return max(0, micros + SIGN).to_bytes(8, "big")


def entries(rows: Iterable[bytes]) -> bytes:
    """Return packed rows as entries."""
    return b"".join(part for row in rows for part in (LENGTH.pack(len(row)), row))


def has_head(value: bytes) -> bool:
    """Return whether a value has a head."""
    return HEAD in value and any(mark[:4] == HEAD for mark in (entries_of(value) or ([], []))[1])


def whole(value: bytes | None, deep: bytes | None) -> bytes | None:
    """Return all that is known of an entity: its value without a head, and its deep value, if it has one."""
    if value is None or not (deep or has_head(value)):
        return value
    found = entries_of(value)
    if found is None:
        return value
    floors = [mark for mark in found[1] if mark[:4] == FLOOR]
    return b"".join([*floors, entries(found[0]), deep or b""])


def entries_of(value: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """Return the rows and the marks of a value, None if it isn't cut into such to its end."""
    rows, marks, index = list[bytes](), list[bytes](), 0
    while index + LENGTH.size <= len(value):
        if value[index : index + LENGTH.size] in (FLOOR, HEAD):
            marks.append(mark_at(value, index))
            index += len(marks[-1])
            continue
        (length,) = LENGTH.unpack_from(value, index)
        index += LENGTH.size + length
        rows.append(value[index - length : index])
    return (rows, marks) if index == len(value) else None


def mark_at(value: bytes, index: int) -> bytes:
    """Return the floor or head that begins at a place of a value, as far as it goes."""
    size = FLOOR_BYTES
    if value[index : index + 4] == HEAD and len(value) >= index + _HEAD_START.size:
        size = _HEAD_START.size + _HEAD_START.unpack_from(value, index)[2]
    return value[index : index + size]


def body_of(mark: bytes) -> bytes:
    """Return what a floor or head says, nothing if it isn't all there."""
    if mark[:4] == FLOOR:
        return mark[8:] if len(mark) == FLOOR_BYTES else b""
    body = mark[_HEAD_START.size :]
    return body if mark[8 : _HEAD_START.size] == LENGTH.pack(len(body)) else b""
