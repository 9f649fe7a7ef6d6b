"""Running a view: what a function sees follows the schema, values survive exactly, and errors name the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_core import Field, OnDemandView, Request
from fs_core.errors import TransformError
from fs_core.testing.histories import SCALARS
from fs_core.transforms.evaluate import evaluate
from fs_core.values import dtypes
from fs_core.values.fingerprint import hash_table
from fs_core.values.samples import samples
from tests.core.transforms import modes

TYPES = (*SCALARS, "list<float32>[3]", "list<int64>", "list<string>", "list<float64>")
MODES = ("numpy", "pandas", "polars", "arrow")
SEEN: list[Any] = []


def same(x: Any) -> Any:
    """Return the input."""
    return x


def watched(x: Any) -> Any:
    """Return the input, and keep what it was."""
    SEEN.append((type(x).__name__, str(getattr(x, "dtype", getattr(x, "type", "")))))
    return x


def view_of(function: Any, dtype: str, mode: str, out: str | None = None) -> OnDemandView:
    """Return a view of one column."""
    return OnDemandView("v", [Request("x", dtype, "d")], [Field("y", out or dtype, "d")], function=function, mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_value_survives(dtype: str, mode: str) -> None:
    """What comes in goes out, bit for bit: nulls, NaN, -0.0, 2**53 + 1, the extremes, in batches and alone."""
    rows = samples({"x": dtypes.resolve(dtype)}).rows
    if (dtype, mode) == ("list<float64>", "pandas"):  # a null inside of a list is NaN there
        rows = pa.table({"x": pa.array([v and [n or 0.0 for n in v] for v in rows["x"].to_pylist()], rows["x"].type)})
    view = view_of(same, dtype, mode)
    wanted = hash_table(rows.rename_columns(["y"]))
    assert hash_table(evaluate(view, rows)) == wanted
    alone = [evaluate(view, rows.slice(row, 1)) for row in range(len(rows))]
    assert hash_table(pa.concat_tables(alone)) == wanted
    assert evaluate(view, rows.slice(0, 0)).schema == pa.schema([("y", dtypes.resolve(dtype))])


@pytest.mark.parametrize("dtype", [name for name in TYPES if name != "float16"])
def test_every_value_survives_in_sql(dtype: str) -> None:
    """An expression that is a column gives the column."""
    rows = samples({"x": dtypes.resolve(dtype)}).rows
    view = OnDemandView("v", [Request("x", dtype, "d")], [Field("y", dtype, "d")], expressions={"y": "x"})
    assert hash_table(evaluate(view, rows)) == hash_table(rows.rename_columns(["y"]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", TYPES)
def test_what_a_function_sees_follows_the_schema(dtype: str, mode: str) -> None:
    """Class and dtype are the same for rows with nulls, without, of nulls alone, and for none."""
    kind = dtypes.resolve(dtype)
    rows = samples({"x": kind}).rows
    view = view_of(watched, dtype, mode)
    SEEN.clear()
    for part in (rows, rows.filter(rows["x"].is_valid()), pa.table({"x": pa.nulls(2, kind)}), rows.slice(0, 0)):
        evaluate(view, part)
    assert len(set(SEEN)) == 1, SEEN


@pytest.mark.parametrize("view", modes.EVERY_MODE, ids=lambda view: view.name)
def test_a_null_gives_a_null_in_every_mode(view: OnDemandView) -> None:
    """A missing input gives a missing result, NaN is NaN where there is one, dividing by zero gives infinity."""
    rows = pa.table(
        {
            "mean": pa.array([2.0, None, 0.0, float("nan"), 2.0]),
            "amount": pa.array([9.0, 9.0, 9.0, 9.0, None]),
            "count": pa.array([3, 3, 3, 3, None], pa.int64()),
        }
    )
    found = evaluate(view, rows)["ratio"].to_pylist()
    nan = "None" if view.mode == "pandas" else "nan"  # whose nullable types have none
    assert str(found) == f"[1.5, None, inf, {nan}, None]"


def test_a_null_that_numpy_has_not_nulls_the_row() -> None:
    """A missing whole number never shows as 0 in a result of NumPy: the row's fields are null."""
    rows = pa.table({"x": pa.array([1, None, 0], pa.int64())})
    found = evaluate(view_of(bucket, "int64", "numpy", "float64"), rows)
    assert found["y"].to_pylist() == [1.0, None, 0.0]


def bucket(x: Any) -> Any:
    """Put into buckets, by a function that knows no nulls."""
    return np.where(np.isin(x, (0,)), 0.0, 1.0)


def failing(x: Any) -> Any:
    """Fail for a value."""
    for value in x.tolist():
        if value == 13:
            raise ValueError("thirteen")
    return x


@pytest.mark.parametrize("row", [0, 1, 499, 999])
def test_an_error_names_the_row(row: int) -> None:
    """A function that raises: the message has the row, its values, and what was raised."""
    values = [float(number % 13) for number in range(1000)]
    values[row] = 13.0
    with pytest.raises(TransformError, match=rf"function failed for row {row} \(x=13\.0\): ValueError: thirteen"):
        evaluate(view_of(failing, "float64", "numpy"), pa.table({"x": values}))


def test_an_error_of_sql_names_the_row() -> None:
    """An expression that fails for a value names the row too."""
    view = OnDemandView("v", [Request("x", "string", "d")], [Field("y", "int64", "d")], expressions={"y": "x::BIGINT"})
    assert evaluate(view, pa.table({"x": ["1", None]}))["y"].to_pylist() == [1, None]
    with pytest.raises(TransformError, match=r"its expressions failed for row 2 \(x='EUR'\): ConversionException"):
        evaluate(view, pa.table({"x": ["1", None, "EUR", "3"]}))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (modes.filtered, r"field 'y': it returns 1 values for 2 rows"),
        (modes.narrow, r"field 'y': it returns float32, declared as double"),
        (modes.misnamed, r"it returns other, declared are y"),
        (modes.scalar, r"field 'y': it returns a float"),
        (modes.stacked, r"field 'y': it returns an array of shape \[2, 2\]"),
    ],
)
def test_what_isnt_declared_is_refused(function: Any, reason: str) -> None:
    """Another length, type, name or shape is refused whenever it comes, though no trial saw it."""
    with pytest.raises(TransformError, match=reason):
        evaluate(view_of(function, "float64", "numpy"), pa.table({"x": [1.0, float("nan")]}))


def test_every_nan_is_one() -> None:
    """Which of its bits a NaN has is a matter of the machine: results have always the same."""
    odd = np.array([0xFFF8000000000001], np.uint64).view(np.float64)
    for mode in MODES:
        found = evaluate(view_of(same, "float64", mode), pa.table({"x": odd}))
        assert found["y"].chunk(0).to_numpy().view(np.uint64).tolist() == [0x7FF8000000000000]
