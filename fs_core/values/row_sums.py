"""Hashing a table's rows whatever their order: for engines whose rows have none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.values.dtypes import plain_type
from fs_core.values.fingerprint import fixed_bytes, joined_bytes, lengths, one_array

MODULUS = 1 << 256
_ROWS = 65_536  # whose bytes are made at once


def sum_of_rows(table: pa.Table) -> int:
    """Return the sum of the rows' SHA-256 hashes, modulo `MODULUS`; the sums of parts add up to that of the whole.

    A row is hashed by its values, column after column. Floats count by their bits. What `shown_alike` says counts no
    difference here.

    Args:
        table: in the types of `shown_alike`.
    """
    total = 0
    for start in range(0, table.num_rows, _ROWS):
        arrays = [one_array(column) for column in table.slice(start, _ROWS).columns]
        for row in _rows(arrays):
            total += int.from_bytes(hashlib.sha256(row).digest(), "big")
    return total % MODULUS


def hash_sum(schema: pa.Schema, rows: int, total: int) -> str:
    """Return the SHA-256 (64 hex digits) of a table's names, types, and rows in any order.

    Args:
        schema: in the types of `shown_alike`.
        rows: how many there are.
        total: their `sum_of_rows`.
    """
    digest = hashlib.sha256(f"{rows}:{total}".encode())
    for field in schema:
        digest.update(f"\0{len(field.name)}:{field.name}\0{field.type}\0".encode())
    return digest.hexdigest()


def shown_alike(dtype: pa.DataType) -> pa.DataType:
    """Return the type that stands for all that engines show one type as.

    Lists of one length are lists, zoned times are UTC, times of seconds and milliseconds are of microseconds, and
    layouts don't count.
    """
    if pa.types.is_timestamp(dtype) and dtype.unit != "ns":
        return pa.timestamp("us", "UTC" if dtype.tz else None)
    if pa.types.is_fixed_size_list(dtype) or pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return pa.list_(shown_alike(dtype.value_type))
    if pa.types.is_struct(dtype):
        return pa.struct([(field.name, shown_alike(field.type)) for field in dtype])
    return plain_type(dtype)


def alike(table: pa.Table) -> pa.Table:
    """Return a table in the types of `shown_alike`."""
    return table.cast(pa.schema([(field.name, shown_alike(field.type)) for field in table.schema]))


def _rows(arrays: Sequence[pa.Array]) -> list[bytes]:
    """Return each row's bytes: of all columns what has one width, then the contents of those that haven't."""
    if not arrays:
        return []
    heads = np.ascontiguousarray(np.concatenate([_head(array) for array in arrays], axis=1))
    rows: Any = heads.view(np.dtype((np.void, heads.shape[1]))).ravel().tolist()  # bytes
    tails = [tail for array in arrays if (tail := _tail(array)) is not None]
    return [b"".join(parts) for parts in zip(rows, *tails, strict=True)]


def _head(array: pa.Array) -> np.ndarray[Any, Any]:
    """Return of each slot whether it is valid, then its value or the length of its content: `uint8[slots, width]`."""
    kind, valid = array.type, pc.is_valid(array).to_numpy(zero_copy_only=False)
    if pa.types.is_boolean(kind):
        cells = pc.fill_null(array, False).to_numpy(zero_copy_only=False).astype(np.uint8).tobytes()
    elif pa.types.is_list(kind) or pa.types.is_string(kind) or pa.types.is_binary(kind):
        cells = lengths(array, valid)
    elif _has_one_width(kind):
        cells = fixed_bytes(array, valid)
    else:
        cells = b""
    told = valid.astype(np.uint8).reshape(-1, 1)
    return np.concatenate([told, np.frombuffer(cells, np.uint8).reshape(len(array), -1)], axis=1) if cells else told


def _tail(array: pa.Array) -> list[bytes] | None:
    """Return each slot's content; None where the head says all."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _cut(joined_bytes(array), np.cumsum(_counts(array)))
    if pa.types.is_list(kind):
        items = _rows([array.flatten()])
        ends = np.concatenate([[0], np.cumsum([len(item) for item in items], dtype=np.int64)])
        return _cut(b"".join(items), ends[np.cumsum(_counts(array))])
    if pa.types.is_struct(kind):
        return _rows(array.flatten()) if kind.num_fields else None
    if pa.types.is_null(kind) or pa.types.is_boolean(kind) or _has_one_width(kind):
        return None
    return [repr(value).encode() for value in array.to_pylist()]


def _has_one_width(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind))


def _counts(array: pa.Array) -> np.ndarray[Any, Any]:
    valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
    return np.frombuffer(lengths(array, valid), "<i8")


def _cut(data: bytes, ends: np.ndarray[Any, Any]) -> list[bytes]:
    starts = [0, *ends.tolist()]
    return [data[start:end] for start, end in zip(starts, ends.tolist(), strict=False)]
