"""Arrow values as bytes and back: fixed-width types as one matrix, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


def is_fixed(dtype: pa.DataType) -> bool:
    """Tell whether values of this type all take the same number of bytes."""
    return not (pa.types.is_string(dtype) or pa.types.is_binary(dtype) or pa.types.is_nested(dtype))


def width(dtype: pa.DataType) -> int:
    """Return the bytes of one value of a fixed type; a boolean takes one."""
    return max(1, int(dtype.bit_width) // 8)


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as a single array."""
    if isinstance(column, pa.Array):
        return column
    combined = column.combine_chunks()
    if isinstance(combined, pa.Array):
        return combined
    return combined.chunk(0) if combined.num_chunks else pa.array([], column.type)


def to_cells(array: pa.Array) -> tuple[Bytes, Flags]:
    """Return a fixed-type array as bytes, shape [n, width], little-endian, nulls zero; and which are valid."""
    valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
    size = width(array.type)
    if len(array) == 0:
        return np.zeros((0, size), np.uint8), valid
    if pa.types.is_boolean(array.type):
        cells = np.asarray(array.cast(pa.uint8()).fill_null(0).to_numpy(), dtype=np.uint8).reshape(-1, 1)
    else:
        data = array.buffers()[1]
        cells = np.frombuffer(data, np.uint8, len(array) * size, array.offset * size).reshape(-1, size)
    return (cells if valid.all() else np.where(valid[:, None], cells, np.uint8(0))), valid


def from_cells(dtype: pa.DataType, cells: Bytes, valid: Flags) -> pa.Array:
    """Return the array that `to_cells` took apart."""
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    if pa.types.is_boolean(dtype):
        data = pa.py_buffer(np.packbits(cells[:, 0] != 0, bitorder="little"))
    else:
        data = pa.py_buffer(np.ascontiguousarray(cells))
    return pa.Array.from_buffers(dtype, len(cells), [bits, data])
