"""Rows that were read, as columns: each made when it is asked for, a run of like columns by one copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.online.row.cells import (
    Cells,
    Flags,
    Sizes,
    cell_type,
    from_cells,
    is_fixed,
    python_values,
    validity_bitmaps,
    window,
)
from fs_core.online.row.layout import Layout
from fs_core.rule import AVAILABLE_AT, EVENT_TIME
from fs_core.values.times import MICROSECONDS

_ALIGNMENT = 64  # what frameworks that share Arrow's memory insist on
CLOCKS = (EVENT_TIME, AVAILABLE_AT)
"""What the times of rows are asked for as, in the order in which a row has them."""
SIGN = np.uint64(1 << 63)
"""What is flipped in a packed time, so that bytes compare as times do."""
_FLOATS: dict[pa.DataType, np.dtype[Any]] = {pa.float32(): np.dtype("<f4"), pa.float64(): np.dtype("<f8")}


@dataclass(eq=False, slots=True)  # each read makes one: a frozen one takes twice as long
class FeatureRows:
    """The features of n rows, in a form from which any columns follow quickly.

    Attributes:
        layout: how the heads lie.
        heads: the rows' heads [n], one behind the other; zeros where nothing is present.
        variable: the features whose size varies, decoded.
    """

    layout: Layout
    heads: Cells
    variable: Mapping[str, pa.Array]

    def __len__(self) -> int:
        return len(self.heads)

    def take(self, position: Sizes | None, present: Flags | None) -> FeatureRows:
        """Return the rows at `position` (None: these), blanked where not `present` (None: nowhere)."""
        if position is None and present is None:
            return self
        heads, variable = self.heads, self.variable
        if position is not None:
            heads = heads[position] if len(heads) else np.zeros(len(position), heads.dtype)
        if present is not None:
            heads = heads.copy()
            heads[~present] = np.zeros((), heads.dtype)
        if variable:
            indices = np.arange(len(heads)) if position is None else position
            at = from_cells(pa.int64(), indices.astype(np.int64, copy=False), present)
            variable = {name: column.take(at) for name, column in variable.items()}
        return FeatureRows(self.layout, heads, variable)

    def arrays(self, names: tuple[str, ...]) -> list[pa.Array]:
        """Return columns, in the order asked, in their declared types; values lie at multiples of 64 bytes."""
        found: list[pa.Array] = []
        valid = self.valid()
        for run in column_runs(self.layout, names):
            found += self._block(run, valid) if run.count else [self._single(run.names[0], run.indices[0], valid)]
        return found

    def matrix(self, names: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
        """Return columns as one matrix, NaN for null, if they lie side by side as floats of one size; else None."""
        runs = column_runs(self.layout, names)
        kind = runs[0].floats if len(runs) == 1 else None
        if kind is None:
            return None
        run = runs[0]
        cells = self._view(run, kind).copy()
        valid = self.valid()
        if valid is not None:
            cells[~valid[:, run.indices]] = np.nan
        return cells

    def values(self, names: tuple[str, ...]) -> list[list[Any]]:
        """Return what `arrays` does as Python's values; floats that lie side by side without Arrow between."""
        found: list[list[Any]] = []
        valid = self.valid()
        for run in column_runs(self.layout, names):
            if run.floats is None:
                arrays = self._block(run, valid) if run.count else [self._single(run.names[0], run.indices[0], valid)]
                found += map(python_values, arrays)
                continue
            columns = self._view(run, run.floats).T.tolist()
            if valid is not None:
                for row, number in np.argwhere(~valid[:, run.indices]).tolist():
                    columns[number][row] = None
            found += columns
        return found

    def valid(self) -> Flags | None:
        """Which values aren't null, bool [n, 8 or more]; None where none is."""
        flags = self.heads["__flags"]
        if flags.tobytes() == _all_set(len(self.layout.features)) * len(flags):
            return None
        return np.unpackbits(flags, axis=1, bitorder="little").view(bool)

    def _view(self, run: ColumnRun, kind: np.dtype[Any]) -> Cells:
        return window(self.heads, run.offset, kind, run.count)

    def _block(self, run: ColumnRun, valid: Flags | None) -> list[pa.Array]:
        count, width = len(self), run.cell.itemsize
        pitch = -(-count * width // _ALIGNMENT) * _ALIGNMENT
        data = pa.allocate_buffer(pitch * run.count)
        np.ndarray((run.count, count), run.cell, data, 0, (pitch, width))[...] = self._view(run, run.cell).T
        if valid is None:  # a slice is made more quickly than an array
            step = pitch // width
            whole = [pa.Array.from_buffers(kind, step * run.count, [None, data], 0) for kind in run.kinds]
            return [whole[kind].slice(index * step, count) for index, kind in enumerate(run.kind_of)]
        bitmaps = validity_bitmaps(valid[:, run.indices])
        return [
            pa.Array.from_buffers(dtype, count, [bitmaps[index], data.slice(index * pitch, count * width)])
            for index, dtype in enumerate(run.types)
        ]

    def _single(self, name: str, index: int, valid: Flags | None) -> pa.Array:
        if name in CLOCKS:
            words = self.heads["__clocks"][:, CLOCKS.index(name)].astype(np.uint64)
            return from_cells(MICROSECONDS, (words ^ SIGN).view(np.int64), words != 0)  # no row's time is 0 there
        if name in self.variable:
            return self.variable[name]
        return from_cells(self.layout.features[name], self.heads[name], None if valid is None else valid[:, index])


@dataclass(frozen=True)
class ColumnRun:
    """Columns side by side whose cells are equally wide, or (count 0) one that is none of that.

    Attributes:
        names: their names.
        types: their types.
        indices: their positions among the view's features.
        cell: the NumPy type of each cell.
        offset: where the first begins in a row.
        count: how many.
    """

    names: tuple[str, ...]
    types: tuple[pa.DataType, ...]
    indices: tuple[int, ...]
    cell: np.dtype[Any]
    offset: int
    count: int

    def goes_on_with(self, other: ColumnRun) -> bool:
        """Return whether another column lies right behind these and is as wide."""
        end = self.offset + self.count * self.cell.itemsize
        return bool(self.count and self.cell == other.cell and other.offset == end)

    def joined(self, other: ColumnRun) -> ColumnRun:
        """Return both as one."""
        names, types, indices = self.names + other.names, self.types + other.types, self.indices + other.indices
        return ColumnRun(names, types, indices, self.cell, self.offset, self.count + other.count)

    @cached_property
    def kinds(self) -> list[pa.DataType]:
        """The types, each once."""
        return list(dict.fromkeys(self.types))

    @cached_property
    def kind_of(self) -> list[int]:
        """The index of each column's type among them: a look-up by type takes Arrow longer than making a slice."""
        return [self.kinds.index(dtype) for dtype in self.types]

    @cached_property
    def floats(self) -> np.dtype[Any] | None:
        """The NumPy type of all of them; None if they aren't floats of one size."""
        return _FLOATS.get(self.types[0]) if self.count and set(self.types) == {self.types[0]} else None


@lru_cache(maxsize=1024)
def column_runs(layout: Layout, names: tuple[str, ...]) -> list[ColumnRun]:
    """Cut the columns asked for into runs that lie in the row as they are asked for."""
    runs: list[ColumnRun] = []
    order = list(layout.features)
    for name in names:
        if name in CLOCKS:
            runs.append(ColumnRun((name,), (MICROSECONDS,), (0,), np.dtype("u1"), 0, 0))
            continue
        dtype = layout.features[name]
        if not is_fixed(dtype):
            runs.append(ColumnRun((name,), (dtype,), (order.index(name),), np.dtype("u1"), 0, 0))
            continue
        assert layout.head.fields is not None
        cell, offset = cell_type(dtype), layout.head.fields[name][1]
        if pa.types.is_boolean(dtype):  # it takes a byte here and a bit in Arrow
            runs.append(ColumnRun((name,), (dtype,), (order.index(name),), cell, offset, 0))
            continue
        new = ColumnRun((name,), (dtype,), (order.index(name),), cell, offset, 1)
        runs = [*runs[:-1], runs[-1].joined(new)] if runs and runs[-1].goes_on_with(new) else [*runs, new]
    return runs


@lru_cache(maxsize=64)
def _all_set(features: int) -> bytes:
    return np.packbits(np.ones(features, bool), bitorder="little").tobytes()
