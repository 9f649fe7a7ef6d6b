"""Features of fixed width as an Arrow batch in one piece of memory, of which Arrow is told at once.

To tell Arrow of ten columns one by one takes longer than to copy a hundred rows of them. A message of Arrow's IPC
format says it in one go: its head tells how many rows there are, where each column lies and how many of its values are
null; the columns follow. All of that but the nulls is the same for any batch of these types and so many rows. So
pyarrow writes a message once, of zeros, and batches are made of copies of its head with other values behind.

A read has just waited for a server, and the processor's caches hold other things. So what counts is how many functions
are called, and how much memory they touch: the one that makes a batch looks nothing up that a template can hold.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from fs_core.online.row.cells import Cells, Flags
from fs_core.online.row.columns import FeatureRows, column_runs
from fs_core.online.row.layout import Layout

_ALIGNMENT = 64  # what frameworks that share Arrow's memory insist on
_MOST_ROWS = 512  # of more, copying takes so long that telling hardly counts
_COUNT = np.dtype("<i8")  # of rows, and of nulls
_BYTE = np.dtype(np.uint8)


class HasRows(Protocol):
    """What may come from packed rows."""

    @property
    def rows(self) -> FeatureRows | None:
        """The rows; None where there are none."""
        ...


@dataclass(frozen=True, eq=False)
class FixedFeatures:
    """Features of fixed width of some views.

    Attributes:
        schema: their columns, view by view.
        views: how the rows of each view lie, and which of its features these are, in order.
    """

    schema: pa.Schema
    views: tuple[tuple[Layout, tuple[str, ...]], ...]

    def batch(self, answers: Sequence[HasRows]) -> pa.RecordBatch | None:
        """Return rows as a batch that shares memory with nothing.

        Args:
            answers: each view's, all with as many rows.

        Returns:
            The batch; None where an answer isn't from packed rows, or rows are none, or too many for this.
        """
        heads, valid, nulls = list[Cells](), list[Flags | None](), False
        for answer in answers:
            rows = answer.rows
            if rows is None:
                return None
            flags = rows.valid()
            nulls = nulls or flags is not None
            heads.append(rows.heads)
            valid.append(flags)
        count = len(heads[0])
        template = _template(self, count, nulls) if 0 < count <= _MOST_ROWS else None
        if template is None:
            return None
        memory, start = pa.allocate_buffer(template.size), template.start
        if template.is_row:  # NumPy takes longer for few values
            found: tuple[Any, ...] = ()
            for block in template.blocks:
                found += block.row.unpack_from(heads[block.view])  # type: ignore[arg-type]  # an array is a buffer
            template.packed.pack_into(memory, start, template.head, *found)
            return pa.ipc.read_record_batch(memory.slice(start), self.schema)
        template.packed.pack_into(memory, start, template.head)
        for block in template.blocks:
            cells = np.ndarray(block.shape, block.kind, heads[block.view], block.source, block.apart)
            if block.bits:
                bits = np.packbits(cells != 0, axis=1, bitorder="little")
                np.ndarray(bits.shape, _BYTE, memory, block.values)[...] = bits
            else:
                np.ndarray(block.shape, block.kind, memory, block.values, block.strides)[...] = cells
            flags = valid[block.view]
            if flags is not None:
                block.write_nulls(memory, flags)
        return pa.ipc.read_record_batch(memory.slice(start), self.schema)


@dataclass(frozen=True, eq=False)
class _Block:
    """Columns of one view that lie side by side in its rows, and equally far apart in memory.

    Attributes:
        view: its index.
        shape: of their values, [columns, rows].
        kind: the dtype of these.
        source: the offset of the first column in a row.
        apart: how far, in bytes, one column is from the next in rows, and one value.
        row: reads the values of one row.
        bits: whether they are booleans, a byte in a row and a bit in Arrow.
        values: the offset in memory of the first column's values.
        strides: how far, in bytes, one column is from the next there, and one value.
        bitmaps: the offset of the first column's bitmap of what isn't null.
        nulls: the offset of the first column's number of nulls; there is one every 16 bytes.
        indices: the columns among the view's features.
    """

    view: int
    shape: tuple[int, int]
    kind: np.dtype[Any]
    source: int
    apart: tuple[int, int]
    row: struct.Struct
    bits: bool
    values: int
    strides: tuple[int, int]
    bitmaps: int
    nulls: int
    indices: np.ndarray[Any, np.dtype[np.intp]]

    def write_nulls(self, memory: pa.Buffer, valid: Flags) -> None:
        """Say which values are null.

        Args:
            memory: of a template with nulls.
            valid: which features of the view aren't, bool [rows, features or more].
        """
        mine = valid.T.take(self.indices, axis=0)
        bits = np.packbits(mine, axis=1, bitorder="little")
        np.ndarray(bits.shape, _BYTE, memory, self.bitmaps, (self.strides[0], 1))[...] = bits
        counts = np.ndarray(len(mine), _COUNT, memory, self.nulls, (2 * _COUNT.itemsize,))
        counts[...] = mine.shape[1] - mine.sum(axis=1)


@dataclass(frozen=True, eq=False)
class _Template:
    """What batches of the same columns and number of rows have in common. Offsets are from where memory begins.

    Attributes:
        head: what Arrow is told; no value is null in it.
        start: the offset of the head, chosen so that columns begin at multiples of 64 bytes.
        size: bytes of the memory.
        blocks: the columns.
        is_row: whether it is of one row without nulls.
        packed: packs the head, and of such a row the values; zeros elsewhere, as all of it goes where a batch is sent.
    """

    head: bytes
    start: int
    size: int
    blocks: tuple[_Block, ...]
    is_row: bool
    packed: struct.Struct


@lru_cache(maxsize=1024)
def _template(features: FixedFeatures, rows: int, nulls: bool) -> _Template | None:
    """Make a template; None if Arrow lays columns out in another way than this room knows."""
    schema, bitmap = features.schema, _padded(rows) if nulls else 0
    sizes = [_padded(rows * dtype.bit_width) for dtype in schema.types]
    message = _zeros(schema, rows, bitmap, sizes).serialize()
    told = pa.ipc.read_record_batch(message, schema)
    found = [[part.address - message.address for part in column.buffers() if part] for column in told.columns]
    first = found[0][0]
    ends = np.cumsum([first] + [bitmap + size for size in sizes]).tolist()
    expected = [[end, end + bitmap] if nulls else [end] for end in ends[:-1]]
    head = np.frombuffer(message, np.uint8)[:first].copy()
    counts = _counts(head, rows, len(sizes)) if nulls else 0
    if found != expected or counts is None:
        return None
    start = -first % _ALIGNMENT
    blocks = _blocks(features, rows, [start + offsets[-1] for offsets in found], bitmap, start + counts)
    is_row = rows == 1 and not nulls
    behind = "".join(map(_one, schema.types)) if is_row else f"{message.size - first}x"
    packed = struct.Struct(f"<{first}s{behind}")
    return _Template(head.tobytes(), start, start + message.size, blocks, is_row, packed)


def _zeros(schema: pa.Schema, rows: int, bitmap: int, sizes: list[int]) -> pa.RecordBatch:
    """Return rows of zeros, with bitmaps and values of so many bytes; with bitmaps, all are null."""
    valid = pa.py_buffer(bytes(bitmap)) if bitmap else None
    columns = [
        pa.Array.from_buffers(dtype, rows, [valid, pa.py_buffer(bytes(size))], rows if bitmap else 0)
        for dtype, size in zip(schema.types, sizes, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


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


def _blocks(features: FixedFeatures, rows: int, values: list[int], bitmap: int, nulls: int) -> tuple[_Block, ...]:
    """Return where the columns of each view come from and go to.

    Args:
        features: the columns.
        rows: how many.
        values: the offset of each column's values.
        bitmap: bytes of a bitmap in front of them.
        nulls: the offset of the first column's number of nulls.
    """
    made, column = list[_Block](), 0
    for view, (layout, names) in enumerate(features.views):
        for run in column_runs(layout, names):
            bits, count, at = not run.count, len(run.names), values[column]
            pitch = values[column + 1] - at if count > 1 else 0
            made.append(
                _Block(
                    view=view,
                    shape=(count, rows),
                    kind=run.cell,
                    source=run.offset,
                    apart=(run.cell.itemsize, layout.size),
                    row=struct.Struct(f"<{run.offset}x" + ("?" if bits else f"{run.cell.itemsize}s") * count),
                    bits=bits,
                    values=at,
                    strides=(pitch, run.cell.itemsize),
                    bitmaps=at - bitmap,
                    nulls=nulls + 2 * _COUNT.itemsize * column,
                    indices=np.array(run.indices, np.intp),
                )
            )
            column += count
    return tuple(made)


def _one(dtype: pa.DataType) -> str:
    """Return how one value of a type is packed, and what lies between it and the next."""
    width = -(-dtype.bit_width // 8)
    return f"{'?' if pa.types.is_boolean(dtype) else f'{width}s'}{_ALIGNMENT - width}x"


def _padded(bits: int) -> int:
    """Return the bytes that so many bits take, up to a multiple of the alignment."""
    return -(-bits // (8 * _ALIGNMENT)) * _ALIGNMENT
