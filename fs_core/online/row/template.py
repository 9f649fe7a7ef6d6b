"""Tables whose columns lie in one piece of memory, so that Arrow is told of all of them at once.

To tell Arrow of ten columns one by one takes longer than to copy a hundred rows of them. A message of Arrow's IPC
format says it in one go: its head tells how many rows there are, where each column lies and how many of its values are
null; the columns follow. All of that but the nulls is the same for any table of these types and so many rows. So
pyarrow writes a message once, of zeros, and tables are made of copies of its head with other values behind.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.online.row.cells import Cells, Flags

_ALIGNMENT = 64  # what frameworks that share Arrow's memory insist on
_MOST_ROWS = 512  # of more, copying takes so long that telling hardly counts
_COUNT = np.dtype("<i8")  # of rows, and of nulls


@dataclass(frozen=True, eq=False)
class FixedColumns:
    """Columns whose values all have one width.

    Attributes:
        schema: their names and types.
    """

    schema: pa.Schema

    def template(self, rows: int, nulls: bool) -> Template | None:
        """Return what tables of so many rows have in common; None where that isn't worth while, or isn't known.

        Args:
            rows: how many.
            nulls: whether values are null.
        """
        return _template(self, rows, nulls) if 0 < rows <= _MOST_ROWS else None


@dataclass(frozen=True, eq=False)
class Template:
    """What tables of the same columns and number of rows have in common. Offsets are in bytes from where memory begins.

    Attributes:
        schema: of the columns.
        rows: how many.
        head: what Arrow is told; no value is null in it.
        start: the offset of the head, chosen so that columns begin at multiples of 64 bytes.
        size: bytes of the memory.
        values: the offset of each column's values.
        bitmaps: the offset of each column's bitmap of what isn't null; none in a template without nulls.
        nulls: the offset of the first column's number of nulls in the head; there is one every 16 bytes.
    """

    schema: pa.Schema
    rows: int
    head: bytes
    start: int
    size: int
    values: tuple[int, ...]
    bitmaps: tuple[int, ...]
    nulls: int

    def memory(self) -> pa.Buffer:
        """Return new memory for a table, zeros behind the head."""
        memory = pa.allocate_buffer(self.size)
        np.ndarray(self.size, np.uint8, memory).fill(0)  # what lies between columns goes where the table is sent
        self._head.pack_into(memory, self.start, self.head)
        return memory

    def row(self, values: Iterable[bytes]) -> pa.Buffer:
        """Return new memory for a table of one row without nulls: NumPy takes longer for few.

        Args:
            values: each column's, as it lies there.
        """
        memory = pa.allocate_buffer(self.size)
        self._row.pack_into(memory, self.start, self.head, *values)
        return memory

    @cached_property
    def _head(self) -> struct.Struct:
        return struct.Struct(f"<{len(self.head)}s")

    @cached_property
    def _row(self) -> struct.Struct:
        widths = [-(-dtype.bit_width // 8) for dtype in self.schema.types]
        return struct.Struct(self._head.format + "".join([f"{width}s{_ALIGNMENT - width}x" for width in widths]))

    def cells(self, memory: pa.Buffer, first: int, count: int, kind: np.dtype[Any]) -> Cells:
        """Return the values of columns side by side as a view, shape [count, rows], to be written.

        Args:
            memory: whose.
            first: the index of the first column.
            count: how many columns, all equally wide.
            kind: the values' dtype.
        """
        return np.ndarray((count, self.rows), kind, memory, self.values[first], (self._pitch(first), kind.itemsize))

    def write_bits(self, memory: pa.Buffer, column: int, values: Flags) -> None:
        """Write a column of booleans.

        Args:
            memory: where.
            column: its index.
            values: bool [rows].
        """
        bits = np.packbits(values, bitorder="little")
        np.ndarray(bits.shape, np.uint8, memory, self.values[column])[...] = bits

    def write_nulls(self, memory: pa.Buffer, first: int, valid: Flags) -> None:
        """Say which values of columns side by side are null, where the template is one with nulls.

        Args:
            memory: where.
            first: the index of the first column.
            valid: which aren't null, bool [columns, rows]; the columns are equally wide.
        """
        bits = np.packbits(valid, axis=1, bitorder="little")
        np.ndarray(bits.shape, np.uint8, memory, self.bitmaps[first], (self._pitch(first), 1))[...] = bits
        step = 2 * _COUNT.itemsize
        np.ndarray(len(valid), _COUNT, memory, self.nulls + first * step, (step,))[...] = self.rows - valid.sum(axis=1)

    def batch(self, memory: pa.Buffer) -> pa.RecordBatch:
        """Return the rows that are in memory by now; nobody may write to it from here on."""
        return pa.ipc.read_record_batch(memory.slice(self.start), self.schema)

    def _pitch(self, column: int) -> int:
        """Return how far a column is from the next, which is as far for all that are equally wide."""
        return self.values[column + 1] - self.values[column] if column + 1 < len(self.values) else 0


@lru_cache(maxsize=1024)
def _template(columns: FixedColumns, rows: int, nulls: bool) -> Template | None:
    """Make a template; None if Arrow lays columns out in another way than this room knows."""
    schema, bitmap = columns.schema, _padded(rows) if nulls else 0
    sizes = [_padded(rows * dtype.bit_width) for dtype in schema.types]
    message = _zeros(schema, rows, bitmap, sizes).serialize()
    told = pa.ipc.read_record_batch(message, schema)
    found = [[part.address - message.address for part in column.buffers() if part] for column in told.columns]
    at = found[0][0]
    head = np.frombuffer(message, np.uint8)[:at].copy()
    start = -at % _ALIGNMENT
    expected, parts = list[list[int]](), [[bitmap, size] if nulls else [size] for size in sizes]
    for lengths in parts:
        expected.append([at + sum(lengths[:index]) for index in range(len(lengths))])
        at += sum(lengths)
    counts = _counts(head, rows, len(sizes)) if nulls else 0
    if found != expected or counts is None:
        return None
    bitmaps = tuple(start + offsets[0] for offsets in found if nulls)
    values = tuple(start + offsets[-1] for offsets in found)
    return Template(schema, rows, head.tobytes(), start, start + message.size, values, bitmaps, start + counts)


def _zeros(schema: pa.Schema, rows: int, bitmap: int, sizes: list[int]) -> pa.RecordBatch:
    """Return rows of zeros, with bitmaps and values of so many bytes; with bitmaps, all are null."""
    valid = pa.py_buffer(bytes(bitmap)) if bitmap else None
    return pa.RecordBatch.from_arrays(
        [
            pa.Array.from_buffers(dtype, rows, [valid, pa.py_buffer(bytes(size))], rows if bitmap else 0)
            for dtype, size in zip(schema.types, sizes, strict=True)
        ],
        schema=schema,
    )


def _counts(head: np.ndarray[Any, np.dtype[np.uint8]], rows: int, columns: int) -> int | None:
    """Return where a head tells of its columns that all rows are null, and let it tell that none is; None if unclear.

    Of each column it has the number of rows and of nulls, one column behind the other (`FieldNode` in Arrow's format).
    """
    told = np.full((columns, 2), rows, _COUNT)
    at = [found.start() for found in re.finditer(b"(?=%b)" % re.escape(told.tobytes()), head.tobytes())]
    if len(at) != 1:
        return None
    told[:, 1] = 0
    head[at[0] : at[0] + told.nbytes] = told.view(np.uint8).ravel()
    return at[0] + _COUNT.itemsize


def _padded(bits: int) -> int:
    """Return the bytes that so many bits take, up to a multiple of the alignment."""
    return -(-bits // (8 * _ALIGNMENT)) * _ALIGNMENT
