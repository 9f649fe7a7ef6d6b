"""Feature columns as one NumPy matrix, in a dtype that the columns' types alone decide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa


def to_matrix(table: pa.Table) -> np.ndarray[Any, Any]:
    """Return a table's columns as a matrix, shape [rows, columns]; a null is NaN.

    The dtype follows from the schema, never from the rows at hand, so that a training matrix and a
    served one agree: the smallest float that holds every column. Booleans and whole numbers of up to 16
    bits fit float32; other whole numbers and decimals become float64, which is exact up to 2**53. With a
    column that is no number the matrix holds objects, a null being None.
    """
    if not all(_is_number(column.type) for column in table.columns):
        cells = np.empty((table.num_rows, table.num_columns), dtype=object)
        for index, column in enumerate(table.columns):
            cells[:, index] = _objects(column)
        return cells
    kinds = [_float_for(column.type) for column in table.columns]
    cells = np.empty((table.num_rows, table.num_columns), dtype=np.result_type(np.float16, *kinds))
    for index, column in enumerate(table.columns):
        cells[:, index] = _floats(column)
    return cells


def _is_number(dtype: pa.DataType) -> bool:
    number = pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype)
    return bool(number or pa.types.is_boolean(dtype))


def _float_for(dtype: pa.DataType) -> type[np.floating[Any]]:
    if pa.types.is_float16(dtype):
        return np.float16
    small = pa.types.is_boolean(dtype) or pa.types.is_float32(dtype)
    return np.float32 if small or (pa.types.is_integer(dtype) and dtype.bit_width <= 16) else np.float64


def _floats(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return np.asarray(column.to_numpy(), dtype=_float_for(column.type))


def _objects(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    cells = np.empty(len(column), dtype=object)  # np.array would make lists of one length into a matrix
    cells[:] = column.to_pylist()
    return cells
