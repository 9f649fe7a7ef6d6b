"""Arrow columns as NumPy arrays with their nulls beside them; nothing is copied that can be seen in place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from fs_core.errors import SchemaError, did_you_mean
from fs_core.values.times import MICROSECONDS, Moment, micros, to_utc_micros

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
    positions = np.where(present, offsets[:-1, None] + column, 0)
    taken = elements.take(positions)
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


Moments: TypeAlias = Moment | int | pa.Array | pa.ChunkedArray | np.ndarray[Any, Any]
"""One moment for all rows, or one for each: times, or microseconds since 1970 UTC."""


def raw_moments(table: pa.Table, moments: Moments | None, timestamp: str) -> Raw:
    """Return each row's moment in microseconds, shape [rows].

    Args:
        table: the rows.
        moments: of each row, or one for all; None for the table's own.
        timestamp: the column that holds those.

    Raises:
        SchemaError: there are none, or not one for each row.
    """
    if moments is None:
        return _raw(_timestamps(table, timestamp), timestamp)
    if isinstance(moments, pa.Array | pa.ChunkedArray | np.ndarray):
        if len(moments) != table.num_rows:
            raise SchemaError(
                f"{len(moments)} moments for {table.num_rows} rows. Pass one for each row, or one for all."
            )
        return _raw(moments if isinstance(moments, pa.Array | pa.ChunkedArray) else pa.array(moments), "moments")
    return Raw(np.full(table.num_rows, micros(moments)), None)


def _timestamps(table: pa.Table, timestamp: str) -> pa.ChunkedArray:
    if timestamp not in table.column_names:
        raise SchemaError(
            f"ages need each row's moment, but the table has no column {timestamp!r}. Pass moments=, when serving "
            f"the `at` of the read.{did_you_mean(timestamp, table.column_names)}"
        )
    return table[timestamp]


def _raw(column: pa.Array | pa.ChunkedArray, name: str) -> Raw:
    column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    column = column.cast(MICROSECONDS) if pa.types.is_int64(column.type) else to_utc_micros(column, name, "down")
    return raw_column(column, None, None)


Codes = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True)
class Vocabulary:
    """Known words; a word's code is its position, counted from 1. Code 0 is an unknown or missing word.

    Attributes:
        words: distinct, in the order of their codes.
    """

    words: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of codes: the words and code 0."""
        return len(self.words) + 1

    def codes(self, array: pa.Array) -> Codes:
        """Return each word's code, int32, shape [len(array)]."""
        if len(array) < len(self.words):  # Arrow would hash the whole vocabulary for a few words
            return np.array([self._positions.get(word, 0) for word in array.to_pylist()], np.int32)
        import pyarrow.compute as pc

        found = pc.index_in(array, value_set=self._value_set)
        return np.asarray(pc.add(pc.fill_null(found, -1), 1).to_numpy(zero_copy_only=False), np.int32)

    @cached_property
    def _positions(self) -> dict[str | None, int]:
        return {word: code for code, word in enumerate(self.words, start=1)}

    @cached_property
    def _value_set(self) -> pa.Array:
        return pa.array(self.words, pa.string())
