"""Taking data in."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.errors import SchemaError
from fs_core.testing.histories import feature_types, nullable, values
from fs_core.values.dtypes import resolve
from fs_core.values.interchange import to_pandas, to_table

ROWS = {"user": [1, 2], "score": [0.5, None]}


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        pa.table(ROWS),
        pa.table(ROWS).to_batches()[0],
        pa.table(ROWS).to_reader(),
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS, index=[7, 9]),
        pl.DataFrame(ROWS),
        [{"user": 1, "score": 0.5}, {"user": 2}],
        [{"user": 1, "score": 0.5}, {"user": 2, "score": None}],
    ],
    ids=["mapping", "table", "batch", "reader", "pandas", "pandas-index", "polars", "ragged dicts", "dicts"],
)
def test_every_accepted_form_gives_the_same_table(data: object) -> None:
    """Arrow, data frames, columns and rows of one content are one table."""
    assert to_table(data, "rows").equals(pa.table(ROWS))


def test_a_column_that_only_later_rows_have_is_kept() -> None:
    """A list of dicts yields the union of its rows' names, not the first row's."""
    assert to_table([{"a": 1}, {"b": 2}], "rows").to_pydict() == {"a": [1, None], "b": [None, 2]}


def test_a_files_name_is_no_rows() -> None:
    """The error says what to do with a file, as text or as a path."""
    for data in ("rows.csv", Path("rows.csv")):
        with pytest.raises(SchemaError, match="Read a file first, or use fs write"):
            to_table(data, "rows")


@pytest.mark.parametrize("data", [5, "text", [1, 2], None])
def test_other_forms_are_refused_by_name(data: object) -> None:
    """What is no table is refused with its type and what to pass instead."""
    with pytest.raises(SchemaError, match=f"the spine is a {type(data).__name__}.*data frame"):
        to_table(data, "the spine")


@pytest.mark.parametrize("column", [5, None, "N14228", b"N14228", {"a": 1}, pa.scalar(5)])
def test_a_column_that_is_one_value_is_refused(column: object) -> None:
    """A scalar is no column, nor is text one of its letters: the error names it and shows a sequence."""
    with pytest.raises(SchemaError, match=rf"the spine: column 'user' .*{type(column).__name__}.*\['N14228'\]"):
        to_table({"user": column}, "the spine")


@pytest.mark.parametrize("column", [range(2), (0, 1), (i for i in range(2)), {0: "a", 1: "b"}.keys()])
def test_a_column_may_be_any_sequence(column: object) -> None:
    """Whatever yields values one by one will do."""
    assert to_table({"user": column}, "rows").to_pydict() == {"user": [0, 1]}


def test_a_column_of_mixed_types_is_refused() -> None:
    """Arrow's complaint about a mixed column comes out as ours, naming data and column."""
    with pytest.raises(SchemaError, match="the spine: column 'user' can't be read"):
        to_table({"user": [1, "x"]}, "the spine")


def test_two_columns_of_one_name_are_refused() -> None:
    """A name must mean one column."""
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["user", "user"])
    with pytest.raises(SchemaError, match="two columns named 'user'"):
        to_table(twice, "the spine")


def test_pandas_keeps_whole_numbers_beside_nulls() -> None:
    """2**53 + 1 beside a null stays that number in pandas."""
    frame = to_pandas(pa.table({"n": [2**53 + 1, None], "m": [1, 2], "b": [True, None]}))
    assert frame["n"][0] == 2**53 + 1
    assert [str(dtype) for dtype in frame.dtypes] == ["Int64", "Int64", "boolean"]
    frame.loc[0, "m"] = pd.NA  # the frame's memory is its own


@given(data=st.data())
def test_pandas_dtypes_follow_the_schema(data: st.DataObject) -> None:
    """Without nulls, with nulls, nothing but nulls or no rows at all: one dtype, in lists too."""
    dtype = resolve(data.draw(feature_types()))
    whole, holed = (data.draw(st.lists(some(dtype), max_size=3)) for some in (values, nullable))
    columns = [to_pandas(pa.table({"x": pa.array(rows, dtype)}))["x"] for rows in (whole, holed, [None], [])]
    assert len({str(column.dtype) for column in columns}) == 1
    lists = [x for column in columns for x in column if isinstance(x, list | np.ndarray)]
    assert len({(type(x), getattr(x, "dtype", None)) for x in lists}) <= 1
    if pa.types.is_integer(dtype) or pa.types.is_boolean(dtype):
        assert [None if x is pd.NA else x for x in columns[1]] == holed


def test_a_null_in_a_list_of_whole_numbers_leaves_the_others_as_they_are() -> None:
    """2**53 + 1 beside a null in any row's list stays that number, and the lists are of one type."""
    lists = pa.table({"ids": pa.array([[2**53 + 1, None], [2**53 + 1], None]), "on": [[True, None], [False], []]})
    assert to_pandas(lists)["ids"].tolist() == [[2**53 + 1, None], [2**53 + 1], None]
    assert to_pandas(lists)["on"].tolist() == [[True, None], [False], []]


def test_a_pandas_index_is_a_column() -> None:
    """Times made by `date_range` are an index; its zone and values are kept."""
    index = pd.date_range("2024-01-01", periods=2, tz="UTC")
    assert to_table({"t": index}, "data")["t"].to_pylist() == list(index)


@pytest.mark.parametrize(
    "data",
    [
        {"user": [2**64], "x": [1]},
        [{"user": 2**64, "x": 1}],
        {"user": [1, "a"]},
        {"user": ["\ud800"]},
        {"user": [pd.NaT]},
    ],
)
def test_a_column_that_arrow_cannot_hold(data: Any) -> None:
    """The error names the column whose values are too great, of several kinds, or neither text nor time."""
    with pytest.raises(SchemaError, match="the rows: column 'user' can't be read as Arrow"):
        to_table(data, "the rows")


@pytest.mark.parametrize("data", [{"\ud800": [1]}, [{"\ud800": 1}]])
def test_a_name_that_is_half_of_a_character(data: Any) -> None:
    """It is shown as its escape."""
    with pytest.raises(SchemaError, match=r"the rows: the name '\\ud800' holds half of a character"):
        to_table(data, "the rows")


@pytest.mark.parametrize(
    ("values_", "says"),
    [
        ([Decimal("NaN")], "row 0 holds NaN, and decimals have no such value. Use None"),
        ([Decimal("1.5"), Decimal("Infinity")], "row 1 holds Infinity, and decimals have no such value"),
        ([pd.NaT], "row 0 holds NaT"),
        (1, "is no sequence, but one value of type int"),
    ],
)
def test_values_that_are_none_are_named(values_: Any, says: str) -> None:
    """What Arrow refuses in words of its own is named, with the row and what to pass instead."""
    with pytest.raises(SchemaError, match=rf"^the rows: column 'x' (can't be read as Arrow: )?{says}"):
        to_table({"x": values_}, "the rows")
