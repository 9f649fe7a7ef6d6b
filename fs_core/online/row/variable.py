"""Values of varying size as bytes and back: text, binary, lists, embeddings.

A value is taken apart into one or more streams, each a run of bytes whose length the row keeps:

    string, binary          the bytes
    list of fixed width     validity: one byte for each element, nothing if no element is null
                            elements, little-endian, zero where null
    list of string, binary  validity, as in the list above
                            lengths: 4 bytes for each element, little-endian
                            the elements' bytes, one after the other

A null has only empty streams, and so has an empty list: the row's null bitmap distinguishes them. An
embedding (`list<T>[n]`) is a list. Whole columns are taken apart and put together at once; only
cutting and joining bytes goes row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fs_core.online.row.cells import Cells, Flags, Sizes, cell_type, from_cells, is_fixed, to_cells, validity
from fs_core.online.row.cells import validity_bitmap as bitmap

_LENGTH = np.dtype("<u4")


@dataclass(frozen=True)
class Stream:
    """A column's bytes of one kind on their way out: row i's are `data[starts[i] : starts[i] + sizes[i]]`."""

    data: memoryview
    starts: Sizes
    sizes: Sizes

    def pieces(self) -> list[bytes]:
        """Return each row's bytes."""
        data, ends = self.data.tobytes(), self.starts + self.sizes
        return [data[a:b] for a, b in zip(self.starts.tolist(), ends.tolist(), strict=True)]


@dataclass(frozen=True)
class Pieces:
    """A column's bytes of one kind on their way in: each row's, one after the other."""

    data: bytes
    sizes: Sizes


def stream_count(dtype: pa.DataType) -> int:
    """Return into how many streams values of this type are taken apart."""
    if not pa.types.is_nested(dtype):
        return 1
    return 2 if is_fixed(dtype.value_type) else 3


def to_streams(array: pa.Array) -> tuple[list[Stream], Flags]:
    """Take a column apart; return its streams and which values are valid, bool [n]."""
    valid = validity(array)
    if not pa.types.is_nested(array.type):
        data, offsets = _text(array)
        return [Stream(data, offsets[:-1], np.diff(offsets))], valid
    elements, starts, counts = _elements(array)
    counts = np.where(valid, counts, 0)
    present = validity(elements)
    gaps = np.concatenate([[0], np.cumsum(~present)])
    flawed = gaps[starts + counts] > gaps[starts]
    streams = [Stream(present.view(np.uint8).data, starts, np.where(flawed, counts, 0))]
    if is_fixed(elements.type):
        cells, _ = to_cells(elements)
        return [*streams, _cell_stream(cells, starts, counts)], valid
    data, offsets = _text(elements)
    streams.append(_cell_stream(np.diff(offsets).astype(_LENGTH), starts, counts))
    return [*streams, Stream(data, offsets[starts], offsets[starts + counts] - offsets[starts])], valid


def are_sound(dtype: pa.DataType, valid: Flags, streams: Sequence[Pieces]) -> Flags:
    """Return which rows' streams can come from `to_streams`, bool [n]: those that `from_streams` may read.

    Args:
        dtype: of the column.
        valid: where values are, bool [n].
        streams: as they were read.
    """
    sound = valid | (sum(stream.sizes for stream in streams) == 0)
    if not pa.types.is_nested(dtype):
        return sound
    width = _element_width(dtype)
    counts = streams[1].sizes // width
    sound &= streams[1].sizes % width == 0
    sound &= (streams[0].sizes == 0) | (streams[0].sizes == counts)
    if pa.types.is_fixed_size_list(dtype):
        sound &= ~valid | (counts == dtype.list_size)
    if len(streams) == 3 and sound.all():
        ends = np.cumsum(counts)
        lengths = np.concatenate([[0], np.cumsum(np.frombuffer(streams[1].data, _LENGTH), dtype=np.int64)])
        sound &= lengths[ends] - lengths[ends - counts] == streams[2].sizes
    return np.asarray(sound, dtype=bool)


def from_streams(dtype: pa.DataType, valid: Flags, streams: Sequence[Pieces]) -> pa.Array:
    """Return the column that `to_streams` took apart; every row must be sound.

    Args:
        dtype: of the column.
        valid: where values are, bool [n].
        streams: as `to_streams` made them.
    """
    if not pa.types.is_nested(dtype):
        return _from_text(dtype, streams[0].data, streams[0].sizes, valid)
    counts = streams[1].sizes // _element_width(dtype)
    present = _present(streams[0], counts)
    kind = cell_type(dtype.value_type) if is_fixed(dtype.value_type) else _LENGTH
    cells = np.frombuffer(streams[1].data, kind)
    if pa.types.is_fixed_size_list(dtype) and not valid.all():
        present, cells = _spread(present, valid, dtype.list_size), _spread(cells, valid, dtype.list_size)
    if is_fixed(dtype.value_type):
        elements = from_cells(dtype.value_type, cells, present)
    else:
        elements = _from_text(dtype.value_type, streams[2].data, cells.astype(np.int64), present)
    buffers = [bitmap(valid)] if pa.types.is_fixed_size_list(dtype) else [bitmap(valid), _offsets(counts)]
    return pa.Array.from_buffers(dtype, len(valid), buffers, children=[elements])


def _element_width(dtype: pa.DataType) -> int:
    return int(cell_type(dtype.value_type).itemsize if is_fixed(dtype.value_type) else _LENGTH.itemsize)


def _cell_stream(cells: Cells, starts: Sizes, counts: Sizes) -> Stream:
    width = cells.dtype.itemsize
    return Stream(np.ascontiguousarray(cells).view(np.uint8).data, starts * width, counts * width)


def _text(array: pa.Array) -> tuple[memoryview, Sizes]:
    """Return the bytes of a string or binary array and n + 1 offsets into them; a null takes none."""
    if array.null_count:
        array = array.fill_null("" if pa.types.is_string(array.type) else b"")  # nulls may hide bytes
    _, offsets, data = array.buffers()
    if len(array) == 0 or offsets is None:
        return memoryview(b""), np.zeros(len(array) + 1, np.int64)
    bounds = np.frombuffer(offsets, np.int32, len(array) + 1, array.offset * 4).astype(np.int64)
    first, last = int(bounds[0]), int(bounds[-1])
    return memoryview(data or b"")[first:last].cast("B"), bounds - first


def _elements(array: pa.Array) -> tuple[pa.Array, Sizes, Sizes]:
    """Return the elements that a list array's own rows (not its siblings') hold, and each row's start and count."""
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        # .values ignores that an array is a slice; .flatten() would drop what nulls hide.
        starts = np.arange(len(array), dtype=np.int64) * size
        return array.values.slice(array.offset * size, len(array) * size), starts, np.full(len(array), size)
    if len(array) == 0:
        return array.values.slice(0, 0), np.zeros(0, np.int64), np.zeros(0, np.int64)
    bounds = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4).astype(np.int64)
    first = int(bounds[0])
    return array.values.slice(first, int(bounds[-1]) - first), bounds[:-1] - first, np.diff(bounds)


def _present(stream: Pieces, counts: Sizes) -> Flags:
    """Return which elements are valid: rows without a validity stream have only valid ones."""
    present = np.ones(int(counts.sum()), dtype=bool)
    if stream.data:
        present[np.repeat(stream.sizes > 0, counts)] = np.frombuffer(stream.data, np.uint8) != 0
    return present


def _from_text(dtype: pa.DataType, data: bytes, sizes: Sizes, valid: Flags) -> pa.Array:
    return pa.Array.from_buffers(dtype, len(sizes), [bitmap(valid), _offsets(sizes), pa.py_buffer(data)])


def _offsets(sizes: Sizes) -> pa.Buffer:
    bounds = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=bounds[1:])
    return pa.py_buffer(bounds)


def _spread(cells: Cells, valid: Flags, size: int) -> Cells:
    """Spread the elements of valid embeddings over all rows: in Arrow a null one takes its room as well."""
    spread = np.zeros((len(valid), size), cells.dtype)
    spread[valid] = cells.reshape(-1, size)
    return spread.reshape(-1)
