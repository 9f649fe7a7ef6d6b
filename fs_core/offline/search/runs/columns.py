"""Columns of data files, read in their declared types, and laid out as files that are mapped into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from fs_core.offline.objects.reading import each_at_once, parquet_file
from fs_core.offline.search.runs.meta import damage_named
from fs_core.values.dtypes import as_type

_GROUP_BYTES = 64 << 20  # of columns that are read together


def read_columns(files: Sequence[str], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return columns of data files in their declared types, file after file."""
    names = list(types)
    parts = each_at_once(lambda file: parquet_file(file).read(columns=names), files)
    columns = {
        name: pa.chunked_array([chunk for part in parts for chunk in as_type(part[name], dtype).chunks], dtype)
        for name, dtype in types.items()
    }
    return pa.table(columns)


def column_groups(files: Sequence[str], types: Mapping[str, pa.DataType]) -> list[dict[str, pa.DataType]]:
    """Part columns into groups that are read together: opening a file takes as long as it has columns."""
    average = 1
    for file in files:
        about = parquet_file(file).metadata
        average += sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups)) // about.num_columns
    size, names = max(1, _GROUP_BYTES // average), list(types)
    return [{name: types[name] for name in names[start : start + size]} for start in range(0, len(names), size)]


def column_path(directory: Path, name: str) -> Path:
    """Return the file of a feature's values."""
    return directory / f"column-{name}.arrow"


def write_column(path: Path, column: pa.ChunkedArray, order: pa.Array) -> None:
    """Write a feature's values in the order of a run.

    Args:
        path: the file.
        column: the values, file after file.
        order: the position of each row of the run.
    """
    write_array(path, _roomy(column).take(order))


def _roomy(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array; text, bytes and lists with 64-bit offsets, since 32 hold two gigabytes."""
    dtype = column.type
    if pa.types.is_string(dtype):
        column = column.cast(pa.large_string())
    elif pa.types.is_binary(dtype):
        column = column.cast(pa.large_binary())
    elif pa.types.is_list(dtype):
        column = column.cast(pa.large_list(dtype.value_type))
    return pa.chunked_array(column.chunks, column.type).combine_chunks()


def write_array(path: Path, array: pa.Array | pa.ChunkedArray) -> None:
    """Write a column as a file that `read_array` maps."""
    table = pa.table({"values": array})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def read_array(path: Path) -> pa.ChunkedArray:
    """Map a column into memory: nothing is copied, and processes share the pages."""
    with damage_named(path.parent), pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()["values"]
