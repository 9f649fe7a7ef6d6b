"""An entity's key as bytes, and back.

Parts of fixed width are their bytes, big-endian, so that neighbouring numbers are neighbours in a store
that sorts its keys; others carry their length in four bytes in front. No two keys of a view share bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.online.cells import Flags, cell_type, from_cells, is_fixed, to_cells

_LENGTH = 4
_FEW = 32  # values that take Python less time than NumPy


def pack_part(array: pa.Array) -> list[bytes | None]:
    """Return each value's bytes in a key, None where it is null."""
    if not is_fixed(array.type):
        values = array.cast(pa.binary()).to_pylist()
        return [None if v is None else len(v).to_bytes(_LENGTH, "big") + v for v in values]
    if 0 < len(array) <= _FEW and not array.null_count and array.type.bit_width >= 8:
        return _few_parts(array)
    cells, valid = to_cells(array)
    size = cells.dtype.itemsize
    flipped = np.ascontiguousarray(cells.view(np.uint8).reshape(-1, size)[:, ::-1])
    pieces: list[bytes | None] = flipped.view(f"V{size}").ravel().tolist()
    return pieces if valid.all() else [piece if ok else None for piece, ok in zip(pieces, valid, strict=True)]


def _few_parts(array: pa.Array) -> list[bytes | None]:
    """Do what `pack_part` does for few values without a null: NumPy takes longer for them."""
    size = array.type.bit_width // 8
    data = memoryview(array.buffers()[1])[array.offset * size : (array.offset + len(array)) * size].tobytes()
    return [data[start : start + size][::-1] for start in range(0, len(data), size)]


def unpack_keys(types: Mapping[str, pa.DataType], keys: Sequence[bytes]) -> tuple[pa.Table, Flags]:
    """Return the key columns that were packed, and which keys are sound, bool [n]; others are null.

    Args:
        types: the key columns, in order.
        keys: what `pack_part` made of them, part after part; or anything.
    """
    parts = [_split(key, types) for key in keys]
    columns = {}
    for place, (name, dtype) in enumerate(types.items()):
        columns[name] = _column(dtype, [None if row is None else row[place] for row in parts])
    return pa.table(columns, schema=pa.schema(list(types.items()))), np.array([row is not None for row in parts], bool)


def _split(key: bytes, types: Mapping[str, pa.DataType]) -> list[bytes] | None:
    """Return a key's parts, None if it can't have been packed from these types."""
    parts, place = [], 0
    for dtype in types.values():
        if is_fixed(dtype):
            size = cell_type(dtype).itemsize
        else:
            size = int.from_bytes(key[place : place + _LENGTH], "big")
            place += _LENGTH
        part = key[place : place + size]
        if len(part) != size or place > len(key) or not _is_value(part, dtype):
            return None
        parts.append(part)
        place += size
    return parts if place == len(key) else None


def _is_value(part: bytes, dtype: pa.DataType) -> bool:
    if pa.types.is_boolean(dtype):
        return part in (b"\0", b"\1")
    if not pa.types.is_string(dtype):
        return True
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True


def _column(dtype: pa.DataType, parts: list[bytes | None]) -> pa.Array:
    if not is_fixed(dtype):
        return pa.array(parts, pa.binary()).cast(dtype)
    kind: np.dtype[Any] = cell_type(dtype)
    blank = bytes(kind.itemsize)
    data = np.frombuffer(b"".join(blank if part is None else part for part in parts), np.uint8)
    cells = np.ascontiguousarray(data.reshape(-1, kind.itemsize)[:, ::-1]).view(kind).reshape(-1)
    return from_cells(dtype, cells, np.array([part is not None for part in parts], bool))
