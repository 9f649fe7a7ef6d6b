"""Taking data in."""

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fs_core.errors import SchemaError
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
    assert [str(dtype) for dtype in frame.dtypes] == ["Int64", "int64", "boolean"]


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
