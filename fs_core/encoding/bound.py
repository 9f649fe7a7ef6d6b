"""A table under its encoding: any rows of it as numbers, in any order."""

from __future__ import annotations

from collections.abc import Sequence
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
            rows: positions from 0, whole numbers of shape [n], or a slice.
        """
        moments = take(self._moments, rows)
        return {name: array for part, raw in self._pairs for name, array in part.arrays(raw.take(rows), moments)}

    def matrix(self, rows: Rows = ALL) -> Array:
        """Return rows as a matrix, as `Encoding.matrix` does.

        Args:
            rows: positions from 0, whole numbers of shape [n], or a slice.
        """
        count = len(range(*rows.indices(self._rows))) if isinstance(rows, slice) else len(rows)
        out = np.empty((count, self.encoding.width), self.encoding.dtype)
        moments, place = take(self._moments, rows), 0
        for part, raw in self._pairs:
            taken, width = raw.take(rows), part.width
            part.write(taken, moments, out[:, place] if part.length is None else out[:, place : place + width])
            place += width
            if part.masked:
                out[:, place : place + width] = part.mask(taken).reshape(-1, width)
                place += width
        return out
