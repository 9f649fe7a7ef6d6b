"""Arrow tables in Parquet files, every type and bit kept.

Parquet knows fewer types than Arrow, and what a reader makes of a file has changed from version to version. So
columns are written in the types that every reader agrees on, and cast back to a schema that is kept beside the file.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fs_core.runtime.files import bring_to_disk
from fs_core.values.dtypes import as_type


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table and bring it to disk.

    Raises:
        pa.ArrowException: a column's type can't be kept in Parquet.
        OSError: the file can't be written.
    """
    stored = pa.table(
        [_cast(column, _stored(column.type)) for column in table.columns],
        names=[f"c{n}" for n in range(table.num_columns)],  # names are the schema's; any text may be one
    )
    pq.write_table(stored, path, store_schema=False, use_dictionary=True)
    bring_to_disk(path)


def read_parquet(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Return what `write_parquet` wrote, in its schema; of several columns by default all.

    Args:
        path: of the file.
        schema: of the table that was written.
        columns: those wanted; None for all.

    Raises:
        pa.ArrowException: the file is damaged, or is another's.
        OSError: it can't be read.
    """
    positions = range(len(schema)) if columns is None else [schema.names.index(name) for name in columns]
    stored = pq.ParquetFile(path).read(None if columns is None else [f"c{n}" for n in positions])
    fields = [schema.field(n) for n in positions]
    found = [_cast(stored[f"c{n}"], field.type) for n, field in zip(positions, fields, strict=True)]
    return pa.table(found, schema=schema if columns is None else pa.schema(fields))


def encode_schema(schema: pa.Schema) -> str:
    """Return a schema as text."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def decode_schema(text: str) -> pa.Schema:
    """Return the schema that `encode_schema` wrote."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def _stored(dtype: pa.DataType) -> pa.DataType:
    """Return the type in which values of a type are written."""
    if pa.types.is_fixed_size_list(dtype) or pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return pa.large_list(_stored(dtype.value_type))
    if pa.types.is_dictionary(dtype):
        return _stored(dtype.value_type)
    if pa.types.is_timestamp(dtype) or pa.types.is_duration(dtype) or pa.types.is_date64(dtype):
        return pa.int64()
    if pa.types.is_float16(dtype):
        return pa.float32()
    if pa.types.is_null(dtype):
        return pa.bool_()
    return dtype


def _cast(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_null(dtype):
        return pa.chunked_array([pa.nulls(len(column))])
    return as_type(column, dtype)
