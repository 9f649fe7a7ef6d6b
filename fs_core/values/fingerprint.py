"""Hashing a table by what it says, not by how it lies in memory."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.values.dtypes import plain_type


def hash_table(table: pa.Table) -> str:
    """Return the SHA-256 (64 hex digits) of a table's names, types, rows and values.

    Chunking, offsets, dictionary layouts and whatever lies under a null don't count, so the hash is
    the same on any thread count and machine. Floats count by their bits.
    """
    digest = hashlib.sha256(f"{table.num_rows}".encode())
    for name in table.column_names:
        column = table[name]
        plain = plain_type(column.type)
        digest.update(f"\0{len(name)}:{name}\0{plain}\0".encode())
        if column.type != plain:
            column = column.cast(plain)
        _update(digest, one_array(column))
    return digest.hexdigest()


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column's values in one array."""
    if isinstance(column, pa.Array):
        return column
    combined = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):  # what older versions return
        return combined.chunk(0) if combined.num_chunks else pa.array([], column.type)
    return combined


def _update(digest: Any, array: pa.Array) -> None:
    """Feed one array: which slots are valid, then the values, null slots blanked."""
    valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
    digest.update(np.packbits(valid).tobytes())
    kind = array.type
    if pa.types.is_null(kind):
        return
    if pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            _update(digest, pc.struct_field(array, index))
    elif pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        digest.update(lengths(array, valid))
        _update(digest, array.flatten())
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        digest.update(lengths(array, valid))
        digest.update(joined_bytes(array))
    elif pa.types.is_boolean(kind):
        digest.update(np.packbits(pc.fill_null(array, False).to_numpy(zero_copy_only=False)).tobytes())
    elif pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind):
        digest.update(fixed_bytes(array, valid))
    else:
        digest.update(repr(array.to_pylist()).encode())


def lengths(array: pa.Array, valid: np.ndarray[Any, Any]) -> bytes:
    """Return the lengths of texts, bytes or lists, `<i8` each; those of nulls are 0."""
    is_text = pa.types.is_string(array.type) or pa.types.is_binary(array.type)
    measured = pc.binary_length(array) if is_text else pc.list_value_length(array)
    counts = pc.fill_null(measured, 0).to_numpy(zero_copy_only=False).astype("<i8")
    return np.where(valid, counts, 0).astype("<i8").tobytes()


def joined_bytes(array: pa.Array) -> bytes:
    """Return the bytes of texts or bytes, one after the other; nulls have none."""
    blank = pc.fill_null(array.cast(pa.large_binary()), b"")
    # Re-take to drop offsets: what is left is exactly the bytes of the valid slots.
    offsets = np.frombuffer(blank.buffers()[1], dtype=np.int64)[blank.offset : blank.offset + len(blank) + 1]
    data = blank.buffers()[2]
    return b"" if data is None or len(blank) == 0 else bytes(memoryview(data)[offsets[0] : offsets[-1]])


def fixed_bytes(array: pa.Array, valid: np.ndarray[Any, Any]) -> bytes:
    """Return the bytes of values that have one width, one after the other; those of nulls are 0."""
    width = array.type.byte_width if hasattr(array.type, "byte_width") else array.type.bit_width // 8
    data = array.buffers()[-1]
    if data is None or len(array) == 0:
        return b""
    cells = np.frombuffer(data, dtype=np.uint8, count=len(array) * width, offset=array.offset * width)
    cells = cells.reshape(len(array), width)
    return cells.tobytes() if valid.all() else np.where(valid[:, None], cells, 0).astype(np.uint8).tobytes()
