"""Features of fixed width as an Arrow batch in one piece of memory, of which Arrow is told at once.

To tell Arrow of ten columns one by one takes longer than to copy a hundred rows of them. A message of Arrow's IPC
format says it in one go: its head tells how many rows there are and where each column lies; the columns follow. The
head is the same for any batch of these types and so many rows, as long as no value is null. So pyarrow writes a message
once, of zeros, and batches are made of copies of its head with other values behind. Of many rows it is made for some
more, so that few heads do for any number, and the batch is cut.

A read has just waited for a server, and the processor's caches hold other things. So what counts is how many functions
are called, and how much memory they touch: the one that makes a batch looks nothing up that a template can hold.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from fs_core.online.row.cells import Cells
from fs_core.online.row.columns import FeatureRows, column_runs
from fs_core.online.row.layout import Layout

_ALIGNMENT = 64  # what frameworks that share Arrow's memory insist on
_MOST_ROWS = 512  # of more, copying takes so long that telling hardly counts
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
    _templates: dict[int, _Template | None] = field(default_factory=dict)

    def batch(self, answers: Sequence[HasRows]) -> pa.RecordBatch | None:
        """Return rows as a batch that shares memory with nothing.

        Args:
            answers: each view's, all with as many rows.

        Returns:
            The batch; None where an answer isn't from packed rows, a value is null, or rows are none, or too many for
            this.
        """
        heads = list[Cells]()
        for answer, indices in zip(answers, self._indices, strict=True):
            rows = answer.rows
            if rows is None or not ((valid := rows.valid()) is None or valid[:, indices].all()):
                return None
            heads.append(rows.heads)
        count = len(heads[0])
        template = self._template(count) if 0 < count <= _MOST_ROWS else None
        if template is None:
            return None
        memory, start = pa.allocate_buffer(template.size), template.start
        if count == 1:  # NumPy takes longer for few values
            found: tuple[Any, ...] = ()
            for block in template.blocks:
                found += block.row.unpack_from(heads[block.view])  # type: ignore[arg-type]  # an array is a buffer
            template.packed.pack_into(memory, start, template.head, *found)
            return pa.ipc.read_record_batch(memory.slice(start), self.schema)
        template.packed.pack_into(memory, start, template.head)
        for block in template.blocks:
            shape = block.count, count
            cells = np.ndarray(shape, block.kind, heads[block.view], block.source, block.apart)
            if block.bits:
                bits = np.packbits(cells != 0, axis=1, bitorder="little")
                np.ndarray(bits.shape, _BYTE, memory, block.values)[...] = bits
            else:
                np.ndarray(shape, block.kind, memory, block.values, block.strides)[...] = cells
        batch = pa.ipc.read_record_batch(memory.slice(start), self.schema)
        return batch if count == template.rows else batch.slice(0, count)

    @cached_property
    def _indices(self) -> list[list[int]]:
        """Which of each view's features these are."""
        return [list(map(list(layout.features).index, names)) for layout, names in self.views]

    def _template(self, count: int) -> _Template | None:
        """Return the template for so many rows, or a few more; None if Arrow's layout isn't known."""
        rows = _rounded(count)
        try:
            return self._templates[rows]
        except KeyError:
            found = self._templates[rows] = _template(self, rows)
            return found


def _rounded(count: int) -> int:
    """Return a number that is a quarter greater at most, of four for each power of two."""
    step = 1 << max(count.bit_length() - 3, 0)
    return -(-count // step) * step


@dataclass(frozen=True, eq=False)
class _Block:
    """Columns of one view that lie side by side in its rows, and equally far apart in memory.

    Attributes:
        view: its index.
        count: how many columns.
        kind: the dtype of their values.
        source: the offset of the first column in a row.
        apart: how far, in bytes, one column is from the next in rows, and one value.
        row: reads the values of one row.
        bits: whether they are booleans, a byte in a row and a bit in Arrow.
        values: the offset in memory of the first column's values.
        strides: how far, in bytes, one column is from the next there, and one value.
    """

    view: int
    count: int
    kind: np.dtype[Any]
    source: int
    apart: tuple[int, int]
    row: struct.Struct
    bits: bool
    values: int
    strides: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Template:
    """What batches of the same columns and number of rows have in common. Offsets are from where memory begins.

    Attributes:
        rows: how many.
        head: what Arrow is told.
        start: the offset of the head, chosen so that columns begin at multiples of 64 bytes.
        size: bytes of the memory.
        blocks: the columns.
        packed: packs the head, and of one row the values; zeros elsewhere, as all of it goes where a batch is sent.
    """

    rows: int
    head: bytes
    start: int
    size: int
    blocks: tuple[_Block, ...]
    packed: struct.Struct


def _template(features: FixedFeatures, rows: int) -> _Template | None:
    """Make a template; None if Arrow lays columns out in another way than this room knows."""
    schema = features.schema
    sizes = [_padded(rows * dtype.bit_width) for dtype in schema.types]
    message = _zeros(schema, rows, sizes).serialize()
    told = pa.ipc.read_record_batch(message, schema)
    found = [[part.address - message.address for part in column.buffers() if part] for column in told.columns]
    first = found[0][0]
    ends = np.cumsum([first, *sizes]).tolist()
    if found != [[end] for end in ends[:-1]]:
        return None
    start = -first % _ALIGNMENT
    blocks = _blocks(features, [start + offset for (offset,) in found])
    behind = "".join(map(_one, schema.types)) if rows == 1 else f"{message.size - first}x"
    head = message.slice(0, first).to_pybytes()
    return _Template(rows, head, start, start + message.size, blocks, struct.Struct(f"<{first}s{behind}"))


def _zeros(schema: pa.Schema, rows: int, sizes: list[int]) -> pa.RecordBatch:
    """Return rows of zeros, with values of so many bytes."""
    columns = [
        pa.Array.from_buffers(dtype, rows, [None, pa.py_buffer(bytes(size))], 0)
        for dtype, size in zip(schema.types, sizes, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _blocks(features: FixedFeatures, values: list[int]) -> tuple[_Block, ...]:
    """Return where the columns of each view come from and go to.

    Args:
        features: the columns.
        values: the offset of each column's values.
    """
    made, column = list[_Block](), 0
    for view, (layout, names) in enumerate(features.views):
        for run in column_runs(layout, names):
            bits, count, at = not run.count, len(run.names), values[column]
            pitch = values[column + 1] - at if count > 1 else 0
            made.append(
                _Block(
                    view=view,
                    count=count,
                    kind=run.cell,
                    source=run.offset,
                    apart=(run.cell.itemsize, layout.size),
                    row=struct.Struct(f"<{run.offset}x" + ("?" if bits else f"{run.cell.itemsize}s") * count),
                    bits=bits,
                    values=at,
                    strides=(pitch, run.cell.itemsize),
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
