"""Values of varying size as bytes and back: text, binary, lists, embeddings.

One value is its bytes. A list is its length (4 bytes, little-endian), one validity byte for each
element, then the elements: fixed-width ones as they are, others each with a 4-byte length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fs_core.online.cells import from_cells, is_fixed, one_array, to_cells, width

_LENGTH = np.dtype("<u4")


def to_bytes(array: pa.Array) -> list[bytes | None]:
    """Return each value's bytes, None for a null."""
    if not pa.types.is_nested(array.type):
        return list(array.cast(pa.binary()).to_pylist())
    return [_list_bytes(item.values) if item.is_valid else None for item in array]


def from_bytes(dtype: pa.DataType, values: Sequence[bytes | None]) -> pa.Array:
    """Return the array that `to_bytes` took apart.

    Raises:
        ValueError: bytes that can't come from `to_bytes`.
    """
    if not pa.types.is_nested(dtype):
        return pa.array(values, pa.binary()).cast(dtype)
    items = [None if value is None else _list_values(dtype.value_type, value) for value in values]
    if pa.types.is_fixed_size_list(dtype):
        return _fixed_size(dtype, items)
    lengths = [0 if item is None else len(item) for item in items]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    mask = pa.array([item is None for item in items])
    return pa.ListArray.from_arrays(offsets, _joined(dtype.value_type, items), type=dtype, mask=mask)


def _list_bytes(elements: pa.Array) -> bytes:
    head = np.array([len(elements)], _LENGTH).tobytes()
    if is_fixed(elements.type):
        cells, valid = to_cells(elements)
        return head + valid.astype(np.uint8).tobytes() + cells.tobytes()
    parts = to_bytes(elements)
    valid_bytes = bytes(part is not None for part in parts)
    sized = (np.array([len(part or b"")], _LENGTH).tobytes() + (part or b"") for part in parts)
    return head + valid_bytes + b"".join(sized)


def _list_values(dtype: pa.DataType, data: bytes) -> pa.Array:
    count = int(np.frombuffer(data, _LENGTH, 1)[0])
    valid = np.frombuffer(data, np.uint8, count, 4).astype(bool)
    rest = data[4 + count :]
    if is_fixed(dtype):
        return from_cells(dtype, np.frombuffer(rest, np.uint8).reshape(count, width(dtype)), valid)
    parts, place = [], 0
    for present in valid:
        size = int(np.frombuffer(rest, _LENGTH, 1, place)[0])
        parts.append(rest[place + 4 : place + 4 + size] if present else None)
        place += 4 + size
    return from_bytes(dtype, parts)


def _fixed_size(dtype: pa.DataType, items: Sequence[pa.Array | None]) -> pa.Array:
    blank = pa.nulls(dtype.list_size, dtype.value_type)
    if any(item is not None and len(item) != dtype.list_size for item in items):
        raise ValueError("a list of another size")
    filled = [blank if item is None else item for item in items]
    mask = pa.array([item is None for item in items])
    return pa.FixedSizeListArray.from_arrays(_joined(dtype.value_type, filled), type=dtype, mask=mask)


def _joined(dtype: pa.DataType, items: Sequence[pa.Array | None]) -> pa.Array:
    return one_array(pa.chunked_array([item for item in items if item is not None], type=dtype))
