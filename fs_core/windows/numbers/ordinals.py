"""Values as numbers in the same order, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.windows.events import plain_floats
from fs_core.windows.numbers.exact import decimal_words

Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Ordinals:
    """The values of a column as numbers of one NumPy type.

    Attributes:
        numbers: greater for greater values; of a null, anything.
        dtype: the column's.
        ranked: the distinct values by their number, where these are ranks; else None.
    """

    numbers: Numbers
    dtype: pa.DataType
    ranked: pa.Array | None = None

    @classmethod
    def of(cls, column: pa.Array) -> Ordinals:
        """Return booleans, whole numbers, floats, decimals, dates or times as numbers."""
        dtype = column.type
        if pa.types.is_decimal(dtype):
            return cls._of_decimals(column)
        if pa.types.is_boolean(dtype):
            column = column.cast(pa.uint8())
        elif pa.types.is_date(dtype):
            column = column.view(pa.int32())
        elif pa.types.is_timestamp(dtype):
            column = column.view(pa.int64())
        filled = column.fill_null(pa.scalar(0, column.type)) if column.null_count else column
        numbers = np.asarray(filled.to_numpy(zero_copy_only=False))
        if pa.types.is_float16(dtype):
            numbers = numbers.astype(np.float32)  # NumPy compares these faster
        return cls(plain_floats(numbers) if numbers.dtype.kind == "f" else numbers, dtype)

    @classmethod
    def _of_decimals(cls, column: pa.Array) -> Ordinals:
        low, high = decimal_words(column)
        signed = low.view(np.int64)
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        if ((high.view(np.int64) == signed >> 63) | ~valid).all():
            return cls(signed, column.type)
        distinct = column.drop_null().unique()
        import pyarrow.compute as pc  # which takes a while to load

        distinct = distinct.take(pc.sort_indices(distinct))
        ranks = pc.index_in(column, value_set=distinct).fill_null(0)
        return cls(ranks.to_numpy(zero_copy_only=False).astype(np.int64), column.type, distinct)

    def restore(self, numbers: Numbers, valid: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Array:
        """Return the values of numbers, null where they aren't valid."""
        absent = ~valid
        if self.ranked is not None:
            return self.ranked.take(pa.array(np.where(valid, numbers, 0), mask=absent))
        if pa.types.is_decimal(self.dtype):
            return decimals(numbers.view(np.uint64), (numbers >> 63).view(np.uint64), valid, self.dtype)
        if pa.types.is_float16(self.dtype):
            numbers = numbers.astype(np.float16)
        found = pa.array(numbers, mask=absent)
        if pa.types.is_date(self.dtype) or pa.types.is_timestamp(self.dtype):
            return found.view(self.dtype)
        return found if found.type == self.dtype else found.cast(self.dtype)


def decimals(low: Numbers, high: Numbers, valid: Numbers, dtype: pa.DataType) -> pa.Array:
    """Return decimals from the lower and the upper 64 bits of their digits, null where they aren't valid.

    Args:
        low: the lower bits, uint64.
        high: the upper bits, as uint64.
        valid: which are no null.
        dtype: a `decimal128`.
    """
    words = np.empty((len(low), 2), np.uint64)
    words[:, 0], words[:, 1] = low, high
    bitmap = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(dtype, len(low), [bitmap, pa.py_buffer(words)])
