"""Columns between MLflow's types and Arrow's: what a signature can say, and how a request becomes a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from mlflow.types import ColSpec, DataType
from mlflow.types.schema import AnyType, Array

from fs_core.errors import SchemaError
from fs_core.values.casting import cast_lossless, parse_text
from fs_core.values.interchange import to_table
from fs_core.values.times import to_utc_micros

INPUT = "the model's input"

_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16())


def input_spec(name: str, dtype: pa.DataType, *, required: bool = True) -> ColSpec:
    """Return what a signature says of a column that callers send.

    It is the widest type of the column's kind, since MLflow narrows nothing and the look-up casts without
    loss. Where MLflow has no such type, or would refuse a time zone or, as in whole numbers and booleans, a null, the
    signature says "any" and `request_table` does the checking.

    Args:
        name: of the column.
        dtype: its Arrow type.
        required: whether they must send the column.
    """
    return ColSpec(AnyType() if _knows_no_null(dtype) else _widest(dtype), name, required=required)


def stored_spec(name: str, dtype: pa.DataType) -> ColSpec:
    """Return the nearest that MLflow's schema can say of a stored column."""
    return ColSpec(_nearest(dtype), name)


def _widest(dtype: pa.DataType) -> Any:
    if pa.types.is_integer(dtype) and not pa.types.is_uint64(dtype):
        return DataType.long
    if pa.types.is_floating(dtype):
        return DataType.double
    simple = {pa.bool_(): DataType.boolean, pa.string(): DataType.string, pa.binary(): DataType.binary}
    return simple.get(dtype, AnyType())


def _knows_no_null(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_integer(dtype) or pa.types.is_boolean(dtype))


def _nearest(dtype: pa.DataType) -> Any:
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype):
        return Array(_nearest(dtype.value_type))
    if pa.types.is_timestamp(dtype) or pa.types.is_date(dtype):
        return DataType.datetime
    if dtype in _INTEGERS:
        return DataType.integer
    if dtype in (pa.float16(), pa.float32()):
        return DataType.float
    return _widest(dtype)


def request_table(data: Any, dtypes: Mapping[str, pa.DataType]) -> pa.Table:
    """Return the columns of a request that `dtypes` names, those that are there, in those types.

    Text stands for times, dates and decimals, as JSON has none of them; a time zone is kept or, where there
    is none, UTC.

    Args:
        data: a pandas data frame, or anything that `fs_core.values.interchange.to_table` reads.
        dtypes: the columns wanted.

    Raises:
        SchemaError: a column mixes types or holds a value that its type doesn't.
    """
    if hasattr(data, "iloc"):  # column by column: a whole frame costs more than a row's look-up
        present = {name: _from_pandas(series, name) for name, series in data.items() if name in dtypes}
    else:
        table = to_table(data, INPUT)
        present = {name: table[name] for name in dtypes if name in table.column_names}
    return pa.table({name: _typed(column, dtypes[name], name) for name, column in present.items()})


def _from_pandas(series: Any, name: str) -> pa.ChunkedArray:
    if series.dtype.kind == "M":  # pyarrow reads a zone's times in a way that pandas deprecates
        return to_table(series.to_frame(), INPUT)[name]
    try:
        return pa.chunked_array([pa.array(series.array, from_pandas=True)])
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise SchemaError(f"{INPUT}: column {name!r} can't be read: {error}") from error


def _typed(column: pa.ChunkedArray, dtype: pa.DataType, name: str) -> pa.ChunkedArray:
    if column.type == dtype:
        return column
    what = f"{INPUT}: column {name!r}"
    column = parse_text(column, dtype, what)
    if pa.types.is_timestamp(dtype) and (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        return to_utc_micros(column, name, "down").cast(dtype)
    return cast_lossless(column, dtype, what)
