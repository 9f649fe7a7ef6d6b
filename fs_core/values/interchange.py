"""Taking data in: anything that speaks Arrow, plain columns, or plain rows."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from fs_core.errors import SchemaError, did_you_mean

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_UINT64_FROM = 2**63  # Arrow takes Python's whole numbers for int64 and gives up here


def to_table(data: Any, what: str) -> pa.Table:
    """Return `data` as an Arrow table, without metadata and without unnamed pandas indexes.

    This is the door: what comes in by different libraries is the same from here on. Named pandas indexes become
    columns. Arrow's view layouts, in which Polars hands over text and bytes, become plain ones.

    Args:
        data: an Arrow table, batch or reader; anything with `__arrow_c_stream__` or
            `__arrow_c_array__` (pandas 2.2+, Polars, DuckDB relations); a mapping of column names to
            sequences; a sequence of mappings, one for each row; or a named pandas or Polars series, for one column.
        what: how errors call it, such as `"the spine"`.

    Raises:
        SchemaError: it is none of these, a column is no sequence or mixes types, or two columns share a name.
    """
    try:
        table = _read(data, what)
    except (pa.ArrowException, OverflowError) as error:
        raise SchemaError(f"{what} can't be read as Arrow: {error}") from error
    except UnicodeEncodeError as error:
        raise SchemaError(
            f"{what}: the name {error.object[:80]!r} holds half of a character (a lone surrogate). Write the whole one."
        ) from error
    kept = [name for name in table.column_names if not _PANDAS_INDEX.fullmatch(name)]
    _refuse_twice(kept, what)
    return pa.table({name: _without_views(table[name]) for name in kept}) if kept else table.select(kept)


def to_reader(data: Any, what: str, *, batch_size: int) -> pa.RecordBatchReader:
    """Return `data` as a stream of batches that are as `to_table` would have them; a reader is read as it comes.

    Args:
        data: a `pyarrow.RecordBatchReader`, or what `to_table` takes.
        what: how errors call it.
        batch_size: rows of a batch at most, where the data isn't a stream of batches already.

    Raises:
        SchemaError: as `to_table`.
    """
    if not isinstance(data, pa.RecordBatchReader):
        return to_table(data, what).to_reader(batch_size)
    schema = to_table(data.schema.empty_table(), what).schema
    batches = (batch for read in data for batch in to_table(read, what).to_batches())
    return pa.RecordBatchReader.from_batches(schema, batches)


def is_spark_frame(data: Any) -> bool:
    """Return whether something is a data frame of Spark or Spark Connect; loads neither."""
    sql = sys.modules.get("pyspark.sql")
    return sql is not None and isinstance(data, sql.DataFrame)


def _read(data: Any, what: str) -> pa.Table:
    if is_spark_frame(data):
        raise SchemaError(
            f"{what} is a Spark data frame, whose rows lie elsewhere; get_historical_features, recreate, write and "
            "backfill take one. If it fits in memory, pass frame.toArrow()."
        )
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if hasattr(data, "to_frame"):
        data = _framed(data, what)
    if hasattr(data, "reset_index"):
        data = _without_index(data, what)
    if hasattr(data, "__arrow_c_stream__"):
        try:
            return pa.RecordBatchReader.from_stream(data).read_all()
        except OverflowError:  # a pandas frame with Python's own whole numbers from 2**63 on
            return pa.table({str(name): _column(list(data[name]), str(name), what) for name in data})
    if hasattr(data, "__arrow_c_array__"):
        return pa.Table.from_batches([pa.record_batch(data)])
    if isinstance(data, Mapping):
        return pa.table({str(name): _column(values, str(name), what) for name, values in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, str | bytes) and all(isinstance(r, Mapping) for r in data):
        # Table.from_pylist looks at the first row's names alone and would lose the others'.
        names = list(dict.fromkeys(name for row in data for name in row))
        return pa.table({str(name): _column([row.get(name) for row in data], str(name), what) for name in names})
    raise SchemaError(
        f"{what} is a {type(data).__name__}. Pass an Arrow table, a data frame, a mapping or a list of dicts."
        f"{' Read a file first, or use fs write.' if isinstance(data, str | PurePath) else ''}"
    )


def _framed(series: Any, what: str) -> Any:
    """Return a series of pandas or Polars as a frame of one column."""
    if not series.name:
        raise SchemaError(f"{what} is a series without a name. Name it after its column, or pass a data frame.")
    return series.to_frame()


def _without_index(frame: Any, what: str) -> Any:
    """Return a pandas frame whose named indexes are columns; Arrow would drop those that only count rows."""
    named = [name for name in frame.index.names if name is not None]
    columns = [str(name) for name in frame.columns]
    _refuse_twice([*columns, *(str(name) for name in named if str(name) not in columns)], what)
    levels = [name for name in named if str(name) not in columns]
    return frame.reset_index(level=levels) if levels else frame


def _refuse_twice(names: Sequence[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SchemaError(f"{what} has two columns named {twice[0]!r}. Rename one of them.")


def _column(values: Any, name: str, what: str) -> pa.Array | pa.ChunkedArray:
    if hasattr(values, "to_series"):  # a pandas index, which Arrow reads in a way that pandas deprecates
        values = values.to_series()
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if hasattr(values, "__arrow_c_array__"):
        return pa.array(values)
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values)
    listed = values if hasattr(values, "__array__") else _listed(values, name, what)
    try:
        return array_of(listed)
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:  # half of a surrogate pair; infinity
        raise SchemaError(f"{what}: column {name!r} can't be read as Arrow: {_reason(listed, error)}") from error


def array_of(values: Any) -> pa.Array:
    """Return values as an Arrow array; whole numbers from 2**63 on as uint64, as NumPy has them.

    Raises:
        pyarrow.ArrowException, OverflowError: there is no type for all of them.
    """
    try:
        return pa.array(values)
    except OverflowError:
        present = [value for value in values if value is not None]
        nested = all(isinstance(value, list | tuple) for value in present)
        return pa.array(values, pa.list_(pa.uint64()) if nested else pa.uint64())


def _reason(values: Any, error: Exception) -> str:
    """Return why values can't be read, naming the first one that Arrow's own words don't name."""
    for row, value in enumerate(values):
        if value is None:
            continue
        if isinstance(value, Decimal) and not value.is_finite():
            return f"row {row} holds {value}, and decimals have no such value. Use None for a missing one."
        if str(value) == "NaT":
            return f"row {row} holds NaT beside times of Python. Use None for a missing one."
        if isinstance(value, int) and not -_UINT64_FROM <= value < 2 * _UINT64_FROM:
            return f"row {row} holds {value}, which has more than 64 bits."
    return str(error)


def _listed(values: Any, name: str, what: str) -> list[Any]:
    if isinstance(values, list):
        return values
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise SchemaError(
            f"{what}: column {name!r} is no sequence, but one value of type {type(values).__name__}. "
            f"Pass a sequence, such as ['N14228']."
        )
    return list(values)


def _without_views(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column whose text and bytes lie one after the other; categories stay categories."""
    plain = _plain_layout(column.type)
    if plain == column.type:
        return column
    if not pa.types.is_dictionary(column.type):
        return column.cast(plain)
    chunks = [
        pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(plain.value_type), ordered=plain.ordered)
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, plain)


def _plain_layout(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(dtype):
        return pa.string()
    if pa.types.is_binary_view(dtype):
        return pa.binary()
    if pa.types.is_dictionary(dtype):
        return pa.dictionary(dtype.index_type, _plain_layout(dtype.value_type), dtype.ordered)
    if pa.types.is_large_list(dtype):
        return pa.large_list(_plain_layout(dtype.value_type))
    if pa.types.is_list(dtype):
        return pa.list_(_plain_layout(dtype.value_type))
    if pa.types.is_fixed_size_list(dtype):
        return pa.list_(_plain_layout(dtype.value_type), dtype.list_size)
    return dtype


def to_pandas(table: pa.Table, *, plain: Collection[str] = ()) -> Any:
    """Return a pandas DataFrame whose dtypes follow the table's types, whatever rows are in it.

    Whole numbers and booleans get pandas' nullable types (`Int64`, `boolean`), with a null or without: NumPy has no
    missing integer, and what was fitted on rows without nulls must fit rows with them. Lists of these are Python
    lists, for the same reason; other lists NumPy arrays, floats NumPy's, a null among them NaN.

    Args:
        table: the rows.
        plain: columns of whole numbers or booleans that get NumPy's types where no row lacks a value.
    """
    import pandas as pd

    return pd.DataFrame({name: _to_series(table[name], pd, name in plain) for name in table.column_names})


def _to_series(column: pa.ChunkedArray, pd: Any, plain: bool) -> Any:
    # Arrays where they will do: for a request of one row they cost much less than a series.
    dtype = column.type
    if pa.types.is_floating(dtype) and not pa.types.is_float16(dtype):
        return column.to_numpy()  # a null is NaN
    if pa.types.is_integer(dtype) or pa.types.is_boolean(dtype):
        if plain and not column.null_count:
            return column.to_numpy()
        kind = pd.arrays.BooleanArray if pa.types.is_boolean(dtype) else pd.arrays.IntegerArray
        whole = column.fill_null(False if pa.types.is_boolean(dtype) else 0) if column.null_count else column
        return kind(whole.to_numpy(), column.is_null().to_numpy())
    if _holds_whole_numbers(dtype):
        return pd.Series(column.to_pylist(), dtype=object)
    return column.to_pandas()


def _holds_whole_numbers(dtype: pa.DataType) -> bool:
    while pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype):
        dtype = dtype.value_type
    return bool(pa.types.is_integer(dtype) or pa.types.is_boolean(dtype))


def require_columns(names: Iterable[str], present: Sequence[str], what: str) -> None:
    """Raise `SchemaError` for the first of `names` that `present` lacks.

    Args:
        names: of the columns needed.
        present: of the columns there.
        what: how the error calls the rows.
    """
    for name in names:
        if name not in present:
            raise SchemaError(f"{what}: there is no column {name!r}.{did_you_mean(name, present)}")
