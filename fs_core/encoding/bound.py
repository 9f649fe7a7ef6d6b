"""A table under its encoding: any rows of it as numbers, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fs_core.encoding.column import ColumnEncoding, take
from fs_core.encoding.raw import Array, Raw, Rows

if TYPE_CHECKING:
    from fs_core.encoding.encoding import Encoding

ALL = slice(None)


class BoundTable:
    """Gives rows of one table as numbers. Immutable, thread-safe, picklable.

    It looks at the table's own memory where it can: float, whole-number and time columns of one chunk cost
    nothing (a byte a row if they hold nulls). What it gives is always fresh.
    """

    def __init__(self, encoding: Encoding, raws: Sequence[Raw], moments: Raw | None, rows: int) -> None:
        self.encoding = encoding
        self._pairs: list[tuple[ColumnEncoding, Raw]] = list(zip(encoding.parts, raws, strict=True))
        self._moments = moments
        self._rows = rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._rows

    def columns(self, rows: Rows = ALL) -> dict[str, Array]:
        """Return rows as one array for each feature, as `Encoding.encode` does.

        Args:
            rows: positions, whole numbers from 0 of shape [n], or a slice.
        """
        moments = take(self._moments, rows)
        return {name: array for part, raw in self._pairs for name, array in part.arrays(raw.take(rows), moments)}

    def matrix(self, rows: Rows = ALL) -> Array:
        """Return rows as a matrix, as `Encoding.matrix` does.

        Args:
            rows: positions, whole numbers from 0 of shape [n], or a slice.
        """
        if isinstance(rows, slice):
            out = np.empty((len(range(*rows.indices(self._rows))), self.encoding.width), self.encoding.dtype)
        else:
            out = np.empty((len(rows), self.encoding.width), self.encoding.dtype)
            if len(rows) and self._plain:
                self._gather(rows, out)
                return out
        moments, place = take(self._moments, rows), 0
        for part, raw in self._pairs:
            taken, width = raw.take(rows), part.width
            part.write(taken, moments, out[:, place] if part.length is None else out[:, place : place + width])
            place += width
            if part.masked:
                out[:, place : place + width] = part.mask(taken).reshape(-1, width)
                place += width
        return out

    @cached_property
    def _plain(self) -> bool:
        """Whether every column is a number for each row already, in the matrix's dtype."""
        return all(
            raw.valid is None and raw.values.dtype == self.encoding.dtype and part.length is None and not part.masked
            for part, raw in self._pairs
        )

    def _gather(self, rows: Array, out: Array) -> None:
        """Take rows column by column into a block that stays in the cache, then turn it."""
        if rows.min() < 0 or rows.max() >= self._rows:
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {self._rows}")
        block = np.empty((len(self._pairs), len(rows)), out.dtype)
        for column, (_, raw) in zip(block, self._pairs, strict=True):
            raw.values.take(rows, out=column, mode="clip")  # "raise" would go through a buffer
        np.copyto(out, block.T)
