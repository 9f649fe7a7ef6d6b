"""In which rows two columns of one type differ, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Flags = np.ndarray[Any, np.dtype[np.bool_]]


def differing(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Flags:
    """Return which rows differ: NaN equals itself, -0.0 isn't 0.0, a null equals only a null."""
    missing = left.is_null().to_numpy() != right.is_null().to_numpy()
    kind = left.type
    if pa.types.is_floating(kind):
        return np.asarray(missing | (_bits(left) != _bits(right)))
    if pa.types.is_nested(kind):
        pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
        return np.array([repr(a) != repr(b) for a, b in pairs], dtype=bool)
    return np.asarray(missing | pc.fill_null(pc.not_equal(left, right), False).to_numpy())


def _bits(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    values = pc.fill_null(column, pa.scalar(0.0, pa.float64()).cast(column.type)).to_numpy()
    return np.ascontiguousarray(values).view(f"u{values.itemsize}")
