"""One view's part of a result: its features under their own names, and a status for each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from fs_core.asof import Status
from fs_core.online.rows import FeatureRows

UNAVAILABLE = "unavailable"
"""The status of a row that nobody could read in time, where `on_deadline="missing"` allows that."""

STATUSES = (Status.PRESENT.value, Status.MISSING.value, Status.EXPIRED.value, UNAVAILABLE)
_NAMES = np.array(STATUSES, dtype=object)


class Answer(Protocol):
    """What each kind of answer can say."""

    @property
    def status(self) -> list[str]:
        """The status of each row."""
        ...

    def arrays(self, names: tuple[str, ...]) -> list[pa.Array | pa.ChunkedArray]:
        """Return columns in the order asked, null unless present."""
        ...

    def matrix(self, names: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
        """Return columns as one matrix, NaN for null, where that is quicker than by way of Arrow; else None."""
        ...


@dataclass(frozen=True)
class OnlineAnswer:
    """An answer from packed rows; `codes` are places in `STATUSES`, uint8 [n]."""

    rows: FeatureRows
    codes: np.ndarray[Any, np.dtype[np.uint8]]

    @property
    def status(self) -> list[str]:
        """See `Answer.status`."""
        found: list[str] = _NAMES[self.codes].tolist()
        return found

    def arrays(self, names: tuple[str, ...]) -> list[pa.Array | pa.ChunkedArray]:
        """See `Answer.arrays`."""
        return self.rows.arrays(names)

    def matrix(self, names: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
        """See `Answer.matrix`."""
        return self.rows.matrix(names)


@dataclass(frozen=True)
class TableAnswer:
    """An answer that is a table already: history's, or nulls."""

    table: pa.Table
    status: list[str]

    @classmethod
    def unavailable(cls, types: dict[str, pa.DataType], count: int) -> TableAnswer:
        """Return nulls for rows that couldn't be read."""
        return cls(pa.table({name: pa.nulls(count, dtype) for name, dtype in types.items()}), [UNAVAILABLE] * count)

    def arrays(self, names: tuple[str, ...]) -> list[pa.Array | pa.ChunkedArray]:
        """See `Answer.arrays`."""
        return [self.table[name] for name in names]

    def matrix(self, names: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
        """See `Answer.matrix`."""
        del names
        return None
