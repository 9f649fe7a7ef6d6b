"""Arrow values as bytes and back: fixed-width types as one array of cells, bit for bit."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

Cells = np.ndarray[Any, Any]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Sizes = np.ndarray[Any, np.dtype[np.int64]]

# Cells are moved, never computed with: whole numbers keep every bit of floats, times and decimals.
_CELLS: dict[int, np.dtype[Any]] = {
    1: np.dtype("u1"),
    2: np.dtype("<u2"),
    4: np.dtype("<u4"),
    8: np.dtype("<u8"),
    16: np.dtype("V16"),
}
_BITS = (8, 16, 32, 64)
_NUMBERS = {pa.float32(), pa.float64()} | {getattr(pa, f"{kind}{bits}")() for kind in ("int", "uint") for bits in _BITS}
_FEW = 128  # values that Arrow itself turns into Python's as quickly


def is_fixed(dtype: pa.DataType) -> bool:
    """Return whether values of this type all take the same number of bytes."""
    return not (pa.types.is_string(dtype) or pa.types.is_binary(dtype) or pa.types.is_nested(dtype))


def cell_type(dtype: pa.DataType) -> np.dtype[Any]:
    """Return the NumPy type of one cell of a fixed type, little-endian; a boolean takes a byte."""
    return _CELLS[max(1, int(dtype.bit_width) // 8)]


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as a single array."""
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    combined = column.combine_chunks()
    if isinstance(combined, pa.Array):
        return combined
    return combined.chunk(0) if combined.num_chunks else pa.array([], column.type)


def python_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return what `to_pylist` does, many plain numbers by way of NumPy, which is faster."""
    array = one_array(column)
    if len(array) <= _FEW or array.null_count or array.type not in _NUMBERS:
        return list(array.to_pylist())
    values: list[Any] = array.to_numpy().tolist()
    return values


def window(rows: Cells, offset: int, kind: np.dtype[Any], count: int) -> Cells:
    """Return `count` cells side by side in each row, from a byte on, as a view [n, count] into structured rows [n].

    Args:
        rows: structured rows, shape [n]; they may lie apart.
        offset: the byte in a row where the first cell begins.
        kind: the cells' dtype.
        count: how many cells.
    """
    return rows.view(_windowed(rows.itemsize, offset, kind, count))["cells"]


@lru_cache(maxsize=1024)
def _windowed(size: int, offset: int, kind: np.dtype[Any], count: int) -> np.dtype[Any]:
    """Return the type of rows of which only some cells are looked at."""
    return np.dtype({"names": ["cells"], "formats": [(kind, (count,))], "offsets": [offset], "itemsize": size})


def validity(array: pa.Array) -> Flags:
    """Return which values aren't null, bool [n]."""
    if array.null_count == 0:
        return np.ones(len(array), dtype=bool)
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=bool)


def to_cells(array: pa.Array) -> tuple[Cells, Flags]:
    """Return a fixed-type array as cells [n], zero where null; and which are valid, bool [n]."""
    valid, kind = validity(array), cell_type(array.type)
    if len(array) == 0:
        return np.zeros(0, kind), valid
    if pa.types.is_boolean(array.type):
        return np.asarray(array.fill_null(False).to_numpy(zero_copy_only=False)).view(np.uint8), valid
    cells = np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)
    if array.null_count:
        cells = cells.copy()
        cells[~valid] = np.zeros((), kind)
    return cells, valid


def from_cells(dtype: pa.DataType, cells: Cells, valid: Flags | None) -> pa.Array:
    """Return the array that `to_cells` took apart, `valid` None where all are; aligned as Arrow wants it.

    Args:
        dtype: of the array.
        cells: one for each value.
        valid: where values are; None for everywhere.
    """
    if pa.types.is_boolean(dtype):
        data = pa.py_buffer(np.packbits(cells != 0, bitorder="little"))
    else:
        data = pa.allocate_buffer(cells.nbytes)
        np.ndarray(cells.shape, cells.dtype, data)[...] = cells
    return pa.Array.from_buffers(dtype, len(cells), [validity_bitmap(valid), data])


def validity_bitmap(valid: Flags | None) -> pa.Buffer | None:
    """Return Arrow's bitmap of which values aren't null, None where all are."""
    return None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))


def validity_bitmaps(valid: Flags) -> list[pa.Buffer | None]:
    """Return what `validity_bitmap` does for each column at once.

    Args:
        valid: which values aren't null, bool [n, columns].
    """
    packed = np.packbits(np.ascontiguousarray(valid.T), axis=1, bitorder="little")
    data, size = pa.py_buffer(packed), packed.shape[1]
    full: list[bool] = np.asarray(valid.all(axis=0)).tolist()
    return [None if every else data.slice(index * size, size) for index, every in enumerate(full)]
