"""Taking data in: anything that speaks Arrow, plain columns, or plain rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fs_core.errors import SchemaError

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


def to_table(data: Any, what: str) -> pa.Table:
    """Return `data` as an Arrow table, without metadata and without an unnamed pandas index.

    Args:
        data: an Arrow table, batch or reader; anything with `__arrow_c_stream__` or
            `__arrow_c_array__` (pandas 2.2+, Polars, DuckDB relations); a mapping of column names to
            sequences; or a sequence of mappings, one for each row.
        what: how errors call it, such as `"the spine"`.

    Raises:
        SchemaError: it is none of these, a column is no sequence or mixes types, or two columns share a name.
    """
    try:
        table = _read(data, what)
    except (pa.ArrowException, OverflowError) as error:
        raise SchemaError(f"{what} can't be read as Arrow: {error}") from error
    kept = [name for name in table.column_names if not _PANDAS_INDEX.fullmatch(name)]
    twice = sorted({name for name in kept if kept.count(name) > 1})
    if twice:
        raise SchemaError(f"{what} has two columns named {twice[0]!r}. Rename one of them.")
    return table.select(kept).replace_schema_metadata(None)


def _read(data: Any, what: str) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data).read_all()
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
    )


def _column(values: Any, name: str, what: str) -> pa.Array | pa.ChunkedArray:
    if hasattr(values, "to_series"):  # a pandas index, which Arrow reads in a way that pandas deprecates
        values = values.to_series()
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if hasattr(values, "__arrow_c_array__"):
        return pa.array(values)
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values)
    try:
        return pa.array(values if hasattr(values, "__array__") else _listed(values, name, what))
    except (pa.ArrowException, OverflowError, ValueError) as error:  # the last: pandas' NaT, half of a surrogate pair
        raise SchemaError(f"{what}: column {name!r} can't be read as Arrow: {error}") from error


def _listed(values: Any, name: str, what: str) -> list[Any]:
    if isinstance(values, list):
        return values
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise SchemaError(
            f"{what}: column {name!r} is no sequence, but one value of type {type(values).__name__}. "
            f"Pass a sequence, such as ['N14228']."
        )
    return list(values)


def to_pandas(table: pa.Table, *, nullable: Collection[str] = ()) -> Any:
    """Return a pandas DataFrame; whole numbers and booleans with nulls become pandas' nullable types.

    NumPy has no missing integer: the default conversion would turn 2**53 + 1 beside a null into a
    float, and into another number.

    Args:
        table: the rows.
        nullable: columns that get the types they would have with nulls, whether there are any or not.
    """
    import pandas as pd

    return pd.DataFrame({name: _to_series(table[name], pd, name in nullable) for name in table.column_names})


def _to_series(column: pa.ChunkedArray, pd: Any, as_nullable: bool) -> Any:
    if pa.types.is_floating(column.type) and not pa.types.is_float16(column.type):
        return column.to_numpy()  # a null is NaN; an array costs a request of one row much less than a series
    if column.null_count == 0 and not as_nullable:
        return column.to_numpy() if pa.types.is_integer(column.type) else column.to_pandas()
    nullable = {pa.bool_(): pd.BooleanDtype()}
    for bits in (8, 16, 32, 64):
        nullable[getattr(pa, f"int{bits}")()] = getattr(pd, f"Int{bits}Dtype")()
        nullable[getattr(pa, f"uint{bits}")()] = getattr(pd, f"UInt{bits}Dtype")()
    return column.to_pandas(types_mapper=nullable.get)
