"""Running an on-demand view: columns in, its features out, the same in training and in serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import OnDemandView
from fs_core.errors import FeatureStoreError, TransformError
from fs_core.transforms.bind import bound
from fs_core.transforms.columns import UndeclaredError, by_field, has_no_null, returned, seen
from fs_core.transforms.expressions import compiled
from fs_core.values.casting import first_failure
from fs_core.values.fingerprint import one_array

Run = Callable[[pa.Table], pa.Table]


def evaluate(view: OnDemandView, columns: pa.Table) -> pa.Table:
    """Return the features of a view for some rows, in the declared types.

    Args:
        view: what is computed.
        columns: its inputs, by the names of `view.columns`, in the types that the inputs are declared with; there may
            be no rows, and one row is a batch of one.

    Raises:
        TransformError: the code isn't here or isn't what was registered; the function raises, and the error names the
            first row (from 0); or it returns another length, name or type than declared.
    """
    run = runner(view)
    columns = columns.select(list(view.columns))
    try:
        return run(columns)
    except FeatureStoreError:
        raise
    except UndeclaredError as error:
        raise TransformError(f"on-demand view {view.ref!r}: {error}") from error
    except Exception as error:  # a user's function may raise anything; callers see one kind of error
        raise TransformError(_failure(view, run, columns, error)) from error


def runner(view: OnDemandView) -> Run:
    """Return what computes a view, which raises whatever its function raises, or `UndeclaredError`.

    Raises:
        TransformError: as in `evaluate`.
    """
    if view.expressions is not None:
        return compiled(view)
    function, mode = bound(view).function, str(view.mode)
    return lambda columns: _called(view, function, mode, columns)


def _called(view: OnDemandView, function: Callable[..., Any], mode: str, columns: pa.Table) -> pa.Table:
    given = seen(columns, mode)
    with np.errstate(all="ignore"):  # dividing by zero is an infinity, whoever has asked for warnings
        result = function(**given)
    parts = by_field(result, view.features)
    unseen = [c for c in columns.columns if mode == "numpy" and c.null_count and has_no_null(c.type)]
    missing = _null_rows(unseen, len(columns)) if unseen else None
    arrays = []
    for name, dtype in view.features.items():
        try:
            array = returned(parts[name], dtype, len(columns), lambda: _null_rows(columns.columns, len(columns)))
        except UndeclaredError as error:
            raise UndeclaredError(f"field {name!r}: {error}") from error
        arrays.append(array if missing is None else pc.if_else(pa.array(~missing), array, pa.scalar(None, dtype)))
    return pa.table(arrays, schema=pa.schema(list(view.features.items())))


def _null_rows(columns: Sequence[pa.ChunkedArray], rows: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return of which rows one of some columns is null."""
    found = np.zeros(rows, bool)
    for column in columns:
        if column.null_count:
            found |= one_array(column).is_null().to_numpy(zero_copy_only=False)
    return found


def _failure(view: OnDemandView, run: Run, columns: pa.Table, error: Exception) -> str:
    what = f"on-demand view {view.ref!r}: its {'function' if view.expressions is None else 'expressions'}"
    message = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    row = failing_row(run, columns)
    if row is None:
        return f"{what} failed for {len(columns):,} rows together, though for none alone: {message}"
    values = ", ".join(f"{name}={columns[name][row].as_py()!r}" for name in columns.column_names)
    return f"{what} failed for row {row} ({values[:200]}): {message}"


def failing_row(run: Run, columns: pa.Table) -> int | None:
    """Return the first row that fails alone; None if none does."""
    row = first_failure(len(columns), lambda start, end: run(columns.slice(start, end - start)), (Exception,))
    try:
        run(columns.slice(row, 1))
    except Exception:  # noqa: BLE001  # a user's function raises what it likes
        return row if len(columns) else None
    return None
