"""Entities as numbers: the index of a key among the sorted, distinct keys of a run."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Codes = np.ndarray[Any, np.dtype[np.int64]]

UNKNOWN = -1
"""The code of a key that no row has."""

_FEW = 64  # so few texts are found by bisection, rather than by hashing every known one first
_DENSE = 8  # whole numbers are looked up in a table of at most so many cells each
_SMALLEST_TABLE = 1 << 16


@dataclass(frozen=True)
class KeyColumn:
    """The distinct values of one key column.

    Attributes:
        values: sorted, distinct, in the column's declared type.
        table: where the values are dense whole numbers, each one's code by its distance from the first,
            `UNKNOWN` in the gaps; else empty.
    """

    values: pa.Array
    table: np.ndarray[Any, np.dtype[np.int32]]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> tuple[KeyColumn, Codes]:
        """Return the distinct values of a column without nulls, and each row's code."""
        encoded = pa.chunked_array(column).combine_chunks().dictionary_encode()
        found = encoded.dictionary
        order = np.asarray(pc.sort_indices(found))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        values = found.take(pa.array(order))
        return cls(values, _lookup_table(values)), rank[encoded.indices.to_numpy()]

    def codes(self, column: pa.ChunkedArray) -> Codes:
        """Return each row's code; no nulls, in the declared type."""
        if not len(self.values):
            return np.full(len(column), UNKNOWN, np.int64)
        numbers, known = _numbers(column), _numbers(self.values)
        if numbers is None or known is None:
            return self._codes_of_texts(column)
        if len(self.table):
            return self._codes_by_table(numbers, known[0])
        index = np.searchsorted(known, numbers)
        index[index == len(known)] = 0
        codes: Codes = np.where(known[index] == numbers, index, UNKNOWN)
        return codes

    def _codes_by_table(self, numbers: np.ndarray[Any, Any], first: Any) -> Codes:
        # A difference of unsigned numbers wraps around: whatever lies below the first is far above the last.
        distance = numbers.astype(np.uint64) - np.uint64(int(first) % 2**64)
        inside = distance < len(self.table)
        if inside.all():
            return np.asarray(self.table[distance], np.int64)
        return np.where(inside, self.table[np.where(inside, distance, 0)], UNKNOWN).astype(np.int64)

    def _codes_of_texts(self, column: pa.ChunkedArray) -> Codes:
        if len(column) <= _FEW:
            return np.array([self._bisect(value) for value in column.to_pylist()], np.int64)
        encoded = column.combine_chunks().dictionary_encode()
        index = pc.index_in(encoded.dictionary, value_set=self.values).fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
        codes: Codes = index.astype(np.int64)[encoded.indices.to_numpy()]
        return codes

    def _bisect(self, value: Any) -> int:
        # Arrow sorts text by its UTF-8 bytes, Python by its code points: the same order.
        index = bisect.bisect_left(range(len(self.values)), value, key=lambda i: self.values[i].as_py())
        return index if index < len(self.values) and self.values[index].as_py() == value else UNKNOWN


@dataclass(frozen=True)
class KeyDictionary:
    """The entities of a run.

    Attributes:
        columns: one for each key column.
        pairs: from the second column on, the distinct pairs of what the columns before make and this
            column's code, as one number each, sorted: the index of a pair is the code of the columns so far.
    """

    columns: Sequence[KeyColumn]
    pairs: Sequence[Codes]

    @classmethod
    def of(cls, keys: pa.Table) -> tuple[KeyDictionary, Codes]:
        """Return the entities of rows without null keys, and each row's code, in order of the keys."""
        made = [KeyColumn.of(column) for column in keys.columns]
        codes, pairs = made[0][1], []
        for column, more in made[1:]:
            distinct, codes = np.unique(codes * len(column.values) + more, return_inverse=True)
            codes = codes.astype(np.int64)
            pairs.append(distinct)
        return cls([column for column, _ in made], pairs), codes

    @property
    def size(self) -> int:
        """How many entities there are."""
        return len(self.pairs[-1]) if self.pairs else len(self.columns[0].values)

    def codes(self, keys: pa.Table) -> Codes:
        """Return each row's code, `UNKNOWN` where no row of the run is of that entity."""
        codes = self.columns[0].codes(keys.column(0))
        for column, distinct, values in zip(self.columns[1:], self.pairs, keys.columns[1:], strict=True):
            more = column.codes(values)
            pair = codes * len(column.values) + more
            index = np.searchsorted(distinct, pair)
            index[index == len(distinct)] = 0
            known = (codes != UNKNOWN) & (more != UNKNOWN) & (distinct[index] == pair) if len(distinct) else False
            codes = np.where(known, index, UNKNOWN).astype(np.int64)
        return codes


def _lookup_table(values: pa.Array) -> np.ndarray[Any, np.dtype[np.int32]]:
    known = _numbers(values)
    nothing = np.zeros(0, np.int32)
    if known is None or not len(known):
        return nothing
    size = int(known[-1]) - int(known[0]) + 1
    if size > max(_DENSE * len(known), _SMALLEST_TABLE) or len(known) >= 2**31:
        return nothing
    table = np.full(size, UNKNOWN, np.int32)
    table[known.astype(np.uint64) - np.uint64(int(known[0]) % 2**64)] = np.arange(len(known), dtype=np.int32)
    return table


def _numbers(column: pa.Array | pa.ChunkedArray) -> np.ndarray[Any, Any] | None:
    """Return values as whole numbers in the same order, None where they are none (text, bytes)."""
    dtype = column.type
    if pa.types.is_boolean(dtype):
        column = column.cast(pa.uint8())
    elif pa.types.is_date32(dtype):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(dtype):
        column = column.cast(pa.int64())
    elif not pa.types.is_integer(dtype):
        return None
    return np.asarray(
        column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    )
