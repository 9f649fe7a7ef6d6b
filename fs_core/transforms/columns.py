"""What a function sees of each type, and what it may return: a matter of the declared type, never of the rows.

| type | numpy | pandas |
|---|---|---|
| floats | an array of that type; a null is NaN | a series of that type; a null is NaN |
| whole numbers, booleans | an array of that type; see below for nulls | `Int64`, `boolean`, and so on |
| date, timestamp | `datetime64` of its unit, in UTC; a null is NaT | `datetime64`, with its zone; dates as objects |
| string, binary, decimal | an array of Python objects; a null is None | `str`; else objects |
| `list<float>[n]` | a matrix, [rows, n]; a null is NaN | arrays as objects |
| other lists | an array of Python lists; a null is None | objects |

`polars` and `arrow` have all of these types and nulls themselves. Two rules make up for what NumPy lacks:
- It has no missing whole number or boolean. A function sees 0 or False instead, and whatever it returns for that row is
  null, in every field.
- Its floats have one missing value for two, null and NaN. Where a function returns NaN for a row of which an input is
  null, the result is null; any other NaN stays NaN. pandas' series of NumPy's floats are the same; its own nullable
  types have no NaN, which is null there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.values.dtypes import as_type, plain_type
from fs_core.values.fingerprint import one_array
from fs_core.values.interchange import to_pandas

Nulls = Callable[[], "np.ndarray[Any, np.dtype[np.bool_]]"]
"""Returns of which rows an input is null."""


class UndeclaredError(Exception):
    """What a function returned isn't what its view declares; the message says how."""


def seen(columns: pa.Table, mode: str) -> dict[str, Any]:
    """Return the columns as a function of that mode sees them; NumPy's can't be written to."""
    if mode == "numpy":
        return {name: _numpy(one_array(columns[name])) for name in columns.column_names}
    if mode == "arrow":
        return {name: one_array(columns[name]) for name in columns.column_names}
    if mode == "pandas":
        frame = to_pandas(columns)
        return {name: frame[name] for name in columns.column_names}
    import polars as pl

    found = {name: one_array(columns[name]) for name in columns.column_names}
    # Polars takes lists of a fixed size only whole, no slices of others.
    lists = [name for name, array in found.items() if pa.types.is_fixed_size_list(array.type)]
    whole = found | {name: pa.concat_arrays([found[name]]) for name in lists}
    return {name: pl.Series(name, pl.from_arrow(array)) for name, array in whole.items()}


def returned(value: Any, dtype: pa.DataType, rows: int, nulls: Nulls) -> pa.Array:
    """Return a column that a function returned, in the declared type.

    Args:
        value: the column.
        dtype: the declared type.
        rows: how many values it must have.
        nulls: returns of which rows an input is null.

    Raises:
        UndeclaredError: it is no column, or has another type or length.
    """
    if isinstance(value, pa.ChunkedArray | pa.Array):
        array = _declared(one_array(value), dtype)
    elif isinstance(value, np.ndarray):
        array = _from_numpy(value, dtype, nulls)
    elif type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "dtype"):
        array = _from_pandas(value, dtype, nulls)
    elif type(value).__module__.partition(".")[0] == "polars" and hasattr(value, "to_arrow"):
        array = _declared(value.to_arrow(), dtype)
    else:
        raise UndeclaredError(f"it returns a {type(value).__name__}, no column of {dtype}.")
    if len(array) != rows:
        raise UndeclaredError(f"it returns {len(array)} values for {rows} rows. Each row has its own.")
    return with_one_nan(array)


def with_one_nan(array: pa.Array) -> pa.Array:
    """Return floats in which every NaN has the same bits: which ones arithmetic gives depends on the machine."""
    dtype = array.type
    if pa.types.is_floating(dtype):
        values = array.to_numpy(zero_copy_only=False)
        nan = np.isnan(values)
        if int(nan.sum()) == array.null_count:
            return array
        values = np.where(nan, values.dtype.type(np.nan), values)
        return pa.array(values, dtype, mask=array.is_null().to_numpy(zero_copy_only=False))
    nested = pa.types.is_list(dtype) or pa.types.is_fixed_size_list(dtype)
    if nested and pa.types.is_floating(dtype.value_type) and np.isnan(_flat(array)).any():
        return pa.array(array.to_pylist(), dtype)
    return array


def _flat(lists: pa.Array) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    return values


def _numpy(array: pa.Array) -> Any:
    dtype = array.type
    if array.null_count and has_no_null(dtype):
        array = array.fill_null(False if pa.types.is_boolean(dtype) else 0)
    if pa.types.is_fixed_size_list(dtype) and pa.types.is_floating(dtype.value_type):
        found = _matrix(array)
    elif pa.types.is_nested(dtype):
        found = np.empty(len(array), object)
        for row, value in enumerate(array.to_pylist()):
            found[row] = value
    else:
        found = array.to_numpy(zero_copy_only=False)
    found.flags.writeable = False
    return found


def has_no_null(dtype: pa.DataType) -> bool:
    """Return whether NumPy has no missing value of a type."""
    return bool(pa.types.is_integer(dtype) or pa.types.is_boolean(dtype))


def _matrix(array: pa.Array) -> np.ndarray[Any, Any]:
    """Return lists of n floats as a matrix, [rows, n]."""
    size = array.type.list_size
    inside = array.values.slice(array.offset * size, len(array) * size)
    matrix: np.ndarray[Any, Any] = inside.to_numpy(zero_copy_only=False).reshape(len(array), size)
    if array.null_count:
        matrix = np.where(array.is_null().to_numpy(zero_copy_only=False)[:, None], matrix.dtype.type(np.nan), matrix)
    return matrix


def _declared(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    """Return an array whose values are of the declared type, in its layout."""
    array = one_array(array)
    plain = plain_type(array.type)
    if plain != dtype and not _is_second(plain, dtype):
        raise UndeclaredError(f"it returns {plain}, declared as {dtype}. Convert it, or declare what it returns.")
    try:
        return as_type(array, dtype)
    except pa.ArrowInvalid as error:
        raise UndeclaredError(f"it returns {plain}, declared as {dtype}: {error}.") from error


def _is_second(have: pa.DataType, want: pa.DataType) -> bool:
    """Return whether a type is Polars' nearest to a time in whole seconds, which it hasn't."""
    times = pa.types.is_timestamp(have) and pa.types.is_timestamp(want)
    return times and (have.unit, want.unit) == ("ms", "s") and have.tz == want.tz


def _from_numpy(values: np.ndarray[Any, Any], dtype: pa.DataType, nulls: Nulls) -> pa.Array:
    mask = None
    if isinstance(values, np.ma.MaskedArray):
        mask, values = np.ma.getmaskarray(values), np.asarray(values.data)
    if values.ndim == 2 and pa.types.is_fixed_size_list(dtype):
        return _from_matrix(values, dtype, nulls)
    if values.ndim != 1:
        raise UndeclaredError(f"it returns an array of shape {list(values.shape)}, not one value for each row.")
    if values.dtype.kind == "O" or (values.dtype.kind in "UT" and pa.types.is_string(dtype)):
        return _from_objects(values.tolist(), dtype, mask)
    expected = _numpy_type(dtype)
    if expected is None or values.dtype != expected:
        wanted = f"declared as {dtype}" + (f", which is {expected} here" if expected is not None else "")
        raise UndeclaredError(f"it returns {values.dtype}, {wanted}. Convert it, or declare what it returns.")
    if expected.kind == "f":
        nan = np.isnan(values)
        if nan.any():
            empty = nan & nulls()
            mask = empty if mask is None else mask | empty
    if expected.kind == "M":
        mask = np.isnat(values) if mask is None else mask | np.isnat(values)
    array = pa.array(values, mask=mask)
    return array if array.type == dtype else array.cast(dtype)


def _from_matrix(values: np.ndarray[Any, Any], dtype: pa.DataType, nulls: Nulls) -> pa.Array:
    """Return a matrix of [rows, n] as lists."""
    inner = _numpy_type(dtype.value_type)
    if inner is None or inner.kind != "f" or values.dtype != inner or values.shape[1] != dtype.list_size:
        raise UndeclaredError(f"it returns {values.dtype} of shape {list(values.shape)}, declared as {dtype}.")
    empty = np.isnan(values).all(axis=1) & nulls() if len(values) else np.zeros(0, bool)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, dtype.list_size, mask=pa.array(empty)).cast(dtype)


def _from_objects(values: list[Any], dtype: pa.DataType, mask: np.ndarray[Any, Any] | None) -> pa.Array:
    """Return Python's objects as the declared type; None is null."""
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype):
        raise UndeclaredError(
            f"it returns objects, declared as {dtype}. Return an array of that type, whatever is in it."
        )
    if mask is not None:
        values = [None if masked else value for value, masked in zip(values, mask.tolist(), strict=True)]
    try:
        return pa.array(values, dtype, from_pandas=False)
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise UndeclaredError(f"it returns objects that are no {dtype}: {error}") from error


@cache
def _numpy_type(dtype: pa.DataType) -> np.dtype[Any] | None:
    """Return the NumPy type of a column; None where it holds objects."""
    if pa.types.is_date(dtype):
        return np.dtype("datetime64[D]")
    if pa.types.is_timestamp(dtype):
        return np.dtype(f"datetime64[{dtype.unit}]")
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_boolean(dtype):
        return np.dtype(str(np.dtype(dtype.to_pandas_dtype())))
    return None


def _from_pandas(series: Any, dtype: pa.DataType, nulls: Nulls) -> pa.Array:
    if isinstance(series.dtype, np.dtype):
        values = series.to_numpy()
        if values.dtype.kind != "O":
            return _from_numpy(values, dtype, nulls)
        missing = np.asarray(series.isna(), bool)
        return _from_objects(values.tolist(), dtype, missing)
    if hasattr(series.dtype, "tz") and pa.types.is_timestamp(dtype) and dtype.tz is not None:
        times = (series.dt if hasattr(series, "dt") else series).tz_convert(None)
        return _from_numpy(np.asarray(times), dtype, nulls)
    return _declared(pa.array(series, from_pandas=True), dtype)


def by_field(result: Any, fields: Mapping[str, pa.DataType]) -> dict[str, Any]:
    """Return what a function returned by field: a mapping as it is, one column for one field.

    Raises:
        UndeclaredError: the mapping has other names than the fields', or there are several fields and no mapping.
    """
    if isinstance(result, Mapping):
        lacking, extra = [n for n in fields if n not in result], [n for n in result if n not in fields]
        if lacking or extra:
            raise UndeclaredError(f"it returns {', '.join(map(str, result))}, declared are {', '.join(fields)}.")
        return {name: result[name] for name in fields}
    if len(fields) > 1:
        raise UndeclaredError(
            f"it returns a {type(result).__name__} for {len(fields)} fields. Return a dict with {', '.join(fields)}."
        )
    return dict.fromkeys(fields, result)
