"""The values of a feature, gathered from the runs in which the rows of an answer lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.offline.search.runs.run import Run
from fs_core.offline.search.timeline import NOWHERE, Positions
from fs_core.values.dtypes import as_type


class Share(NamedTuple):
    """Which rows of an answer lie in one run, and where there.

    Attributes:
        rows: of the answer, ascending.
        positions: of each in the run, `NOWHERE` for a null.
        valid: those of the rows that aren't null.
        places: the position of each of these.
    """

    rows: Positions
    positions: Positions
    valid: Positions
    places: Positions


def shares_of(which: Positions, positions: Positions, runs: int) -> list[Share]:
    """Return what lies in each run, found once for all features.

    Args:
        which: for each row of the answer, the number of its run.
        positions: its position there, `NOWHERE` for a null.
        runs: how many runs there are.
    """
    found = []
    for number in range(runs):
        rows = np.flatnonzero(which == number)
        mine = positions[rows]
        there = mine != NOWHERE
        found.append(Share(rows, mine, rows, mine) if there.all() else Share(rows, mine, rows[there], mine[there]))
    return found


def gather(
    runs: Sequence[Run], shares: Sequence[Share], positions: Positions, name: str, dtype: pa.DataType
) -> pa.ChunkedArray:
    """Return a feature of rows that lie in several runs.

    Args:
        runs: the runs.
        shares: for each run what lies in it, together all rows; nothing where there is one run.
        positions: for each row, its position there, `NOWHERE` for a null.
        name: the feature.
        dtype: its declared type.
    """
    if len(runs) == 1:
        return _taken(runs[0], name, positions, dtype)
    columns = [run.column(name) for run in runs]
    if pa.types.is_primitive(dtype) and dtype.bit_width >= 8 and all(_is_plain(column) for column in columns):
        return pa.chunked_array([_scattered(columns, shares, positions, dtype)])
    filled = [(run, share) for run, share in zip(runs, shares, strict=True) if len(share.rows)]
    if not filled:
        return pa.chunked_array([], dtype)
    parts = [chunk for run, share in filled for chunk in _taken(run, name, share.positions, dtype).chunks]
    back = np.empty(len(positions), np.int64)
    back[np.concatenate([share.rows for _, share in filled])] = np.arange(len(positions))
    return pa.chunked_array(parts, dtype).take(pa.array(back))


def _is_plain(column: pa.ChunkedArray) -> bool:
    """Return whether a column is one piece of memory without nulls."""
    return bool(column.num_chunks == 1 and column.null_count == 0)


def _scattered(
    columns: Sequence[pa.ChunkedArray], shares: Sequence[Share], positions: Positions, dtype: pa.DataType
) -> pa.Array:
    """Take numbers or times from each run straight to where they belong."""
    kind = np.dtype(f"u{dtype.bit_width // 8}")
    absent = positions == NOWHERE
    cells = np.zeros(len(positions), kind)
    for column, share in zip(columns, shares, strict=True):
        held = column.chunk(0)
        values = np.frombuffer(held.buffers()[1], kind, len(held), held.offset * kind.itemsize)
        cells[share.valid] = values[share.places]
    valid = pa.py_buffer(np.packbits(~absent, bitorder="little")) if absent.any() else None
    return pa.Array.from_buffers(dtype, len(positions), [valid, pa.py_buffer(cells)])


def _taken(run: Run, name: str, positions: Positions, dtype: pa.DataType) -> pa.ChunkedArray:
    absent = positions == NOWHERE
    # The rows of a mapped column are one chunk unless it was written in several.
    column = run.column(name)
    wanted = pa.array(positions, mask=absent) if absent.any() else pa.array(positions)
    found = pc.take(column, wanted)
    return as_type(found, dtype)
