"""Arrow columns as NumPy arrays with their nulls beside them; nothing is copied that can be seen in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.encoding.vocabulary import Vocabulary

Array = np.ndarray[Any, Any]
Rows = Array | slice
"""Which rows: positions, or a slice."""


@dataclass(frozen=True)
class Raw:
    """A column's values; read-only where they lie in Arrow's memory.

    Attributes:
        values: shape [rows] or, for lists, [rows, length]; anything where invalid.
        valid: of the same shape, False for a null; None if there is none.
    """

    values: Array
    valid: Array | None

    def take(self, rows: Rows) -> Raw:
        """Return some of the rows: a view for a slice, a copy for positions."""
        if isinstance(rows, slice):
            return Raw(self.values[rows], None if self.valid is None else self.valid[rows])
        return Raw(self.values.take(rows, axis=0), None if self.valid is None else self.valid.take(rows, axis=0))


def raw_column(column: pa.ChunkedArray, length: int | None, vocabulary: Vocabulary | None) -> Raw:
    """Return a column's values, copied only if it has several chunks or its type needs converting.

    Args:
        column: of a plain, supported type, or nothing but nulls of type null.
        length: how many elements of each list count; None if it holds no lists.
        vocabulary: the codes of texts; None if it holds none.
    """
    if column.num_chunks == 1:
        return _raw_array(column.chunk(0), length, vocabulary)
    parts = [_raw_array(chunk, length, vocabulary) for chunk in column.chunks or [pa.array([], column.type)]]
    valid = None
    if any(part.valid is not None for part in parts):
        valid = np.concatenate([_validity(part) for part in parts])
    return Raw(np.concatenate([part.values for part in parts]), valid)


def _validity(part: Raw) -> Array:
    return np.ones(part.values.shape, bool) if part.valid is None else part.valid


def _raw_array(array: pa.Array, length: int | None, vocabulary: Vocabulary | None) -> Raw:
    if length is None:
        return _scalars(array, vocabulary)
    if pa.types.is_null(array.type):
        shape = (len(array), length)
        return Raw(np.zeros(shape, np.int8), np.zeros(shape, bool))
    if pa.types.is_fixed_size_list(array.type):
        return _block(array, length, vocabulary)
    return _padded(array, length, vocabulary)


def _scalars(array: pa.Array, vocabulary: Vocabulary | None) -> Raw:
    valid = None if array.null_count == 0 else np.asarray(array.is_valid().to_numpy(zero_copy_only=False))
    if pa.types.is_null(array.type):
        return Raw(np.zeros(len(array), np.int8), valid)
    return Raw(_values(array) if vocabulary is None else vocabulary.codes(array), valid)


def _block(array: pa.FixedSizeListArray, length: int, vocabulary: Vocabulary | None) -> Raw:
    # `.values` ignores slicing, and `.flatten()` leaves out the elements of null lists.
    elements = _scalars(array.values.slice(array.offset * length, len(array) * length), vocabulary)
    valid = None if elements.valid is None else elements.valid.reshape(-1, length)
    if array.null_count:
        lists = np.asarray(array.is_valid().to_numpy(zero_copy_only=False))[:, None]
        valid = np.broadcast_to(lists, (len(array), length)) if valid is None else valid & lists
    return Raw(elements.values.reshape(-1, length), valid)


def _padded(array: pa.ListArray, length: int, vocabulary: Vocabulary | None) -> Raw:
    """Return the first elements of each list; what a short or null list lacks is invalid."""
    offsets = np.asarray(array.offsets.to_numpy(), np.int64)
    counts = np.diff(offsets)
    if array.null_count:
        counts = np.where(array.is_valid().to_numpy(zero_copy_only=False), counts, 0)
    column = np.arange(length)
    present = column < counts[:, None]
    elements = _scalars(array.values, vocabulary)
    if not len(elements.values):
        return Raw(np.zeros(present.shape, elements.values.dtype), present)
    places = np.where(present, offsets[:-1, None] + column, 0)
    taken = elements.take(places)
    return Raw(taken.values, present if taken.valid is None else present & taken.valid)


def _values(array: pa.Array) -> Array:
    """Return the values of numbers, booleans, times (microseconds) and dates (days); anything under a null."""
    kind = array.type
    if pa.types.is_boolean(kind):
        return _seen(array.cast(pa.uint8())).view(np.bool_)
    if pa.types.is_decimal(kind):
        return _seen(array.cast(pa.string()).cast(pa.float64()))  # Arrow's own cast rounds twice
    if pa.types.is_timestamp(kind):
        return _seen(array.cast(pa.timestamp("us", kind.tz)).view(pa.int64()))
    return _seen(array.view(pa.int32()) if pa.types.is_date32(kind) else array)


def _seen(array: pa.Array) -> Array:
    """Look at the memory of numbers; `to_numpy` would make floats of whole numbers beside a null."""
    dtype, buffer = np.dtype(array.type.to_pandas_dtype()), array.buffers()[1]
    if buffer is None or len(array) == 0:
        return np.zeros(len(array), dtype)
    return np.frombuffer(buffer, dtype, len(array), array.offset * dtype.itemsize)
