"""What an encoding gives, against a plain reading of each cell; and its laws."""

from __future__ import annotations

import doctest
import json
import pickle
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Encoding
from fs_core.encoding.column import ColumnEncoding
from fs_core.errors import DataError
from tests.core.encoding.drawing import TYPES, columns_of, training_set_of, wishes

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: Any) -> int:
    """A moment as a plain reader counts it."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def plainly(part: ColumnEncoding, cell: Any, moment: Any) -> Any:
    """One cell as a number, read without Arrow or vectors; None where it is missing."""
    if part.vocabulary is not None:
        words = part.vocabulary.words
        return None if cell is None else words.index(cell) + 1 if cell in words else 0
    if cell is None or (part.is_age and moment is None):
        return None
    if part.is_age:
        return (micros(moment) - micros(cell)) / 1e6
    if isinstance(cell, datetime):
        return micros(cell)
    if isinstance(cell, date):
        return cell.toordinal() - date(1970, 1, 1).toordinal()
    return float(cell) if isinstance(cell, Decimal) else cell


def expected(part: ColumnEncoding, cells: list[Any], moments: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """A column as numbers and its mask, cell by cell."""
    rows = [(cell, moment) for cell, moment in zip(cells, moments, strict=True)]
    if part.length is not None:
        filled = [((cell or []) + [None] * part.length)[: part.length] for cell, _ in rows]
        flat = [(element, moment) for elements, (_, moment) in zip(filled, rows, strict=True) for element in elements]
    else:
        flat = rows
    numbers = [plainly(part, cell, moment) for cell, moment in flat]
    missing = np.array([cell is None for cell, _ in flat]).reshape(len(cells), *part.shape)
    with np.errstate(over="ignore"):
        values = np.array([part.filling if n is None else n for n in numbers], object).astype(part.dtype)
    return values.reshape(len(cells), *part.shape), missing


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two arrays agree in dtype, shape and every bit, one NaN counting as another."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if np.issubdtype(left.dtype, np.floating):
        left, right = (np.where(np.isnan(x), np.full_like(x, np.nan), x) for x in (left, right))
    return left.tobytes() == right.tobytes()


@st.composite
def encoded(draw: st.DrawFn) -> tuple[Encoding, pa.Table]:
    """Draw an encoding, fitted on some rows, and others to encode."""
    names = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=4, unique=True))
    asked = draw(wishes(names))
    table = draw(columns_of(names, draw(st.integers(0, 6))))
    learnt = training_set_of({name: table[name] for name in names}, timestamp=table["event_timestamp"])
    return Encoding.fit(learnt, **asked), draw(columns_of(names, draw(st.integers(0, 6))))


@settings(max_examples=60)
@given(encoded())
def test_each_cell_is_what_a_plain_reading_says(case: tuple[Encoding, pa.Table]) -> None:
    """For every dtype, with nulls, short lists and unknown words: values, masks, dtypes and shapes."""
    encoding, table = case
    arrays, moments = encoding.encode(table), table["event_timestamp"].to_pylist()
    assert {name: (a.dtype, a.shape[1:]) for name, a in arrays.items()} == encoding.signature
    assert list(arrays) == list(encoding.signature)
    for part in encoding.parts:
        values, missing = expected(part, table[part.name].to_pylist(), moments)
        assert same_bits(arrays[part.name], values), part
        if part.masked:
            assert (arrays[part.name + "__mask"] == missing).all()


@settings(max_examples=25)
@given(encoded())
def test_the_matrix_is_its_columns_side_by_side(case: tuple[Encoding, pa.Table]) -> None:
    """Column for column, in the encoding's dtype, C-contiguous, writable, as wide as its names say."""
    encoding, table = case
    matrix = encoding.matrix(table)
    assert matrix.flags.c_contiguous
    assert matrix.flags.writeable
    assert matrix.dtype == encoding.dtype
    assert matrix.shape == (len(table), encoding.width) == (len(table), len(encoding.columns))
    with np.errstate(over="ignore"):
        blocks = [
            a.astype(encoding.dtype).reshape(len(table), -1 if len(table) else 0)
            for a in encoding.encode(table).values()
        ]
    if len(table):
        assert same_bits(matrix, np.ascontiguousarray(np.concatenate(blocks, axis=1)))


@settings(max_examples=40)
@given(encoded(), st.data())
def test_rows_are_encoded_one_by_one(case: tuple[Encoding, pa.Table], data: st.DataObject) -> None:
    """However a table is cut, chunked, sliced or drawn from, each row becomes the same numbers."""
    encoding, table = case
    whole, matrix = encoding.encode(table), encoding.matrix(table)
    cut = data.draw(st.integers(0, len(table)))
    parts = [table.slice(0, cut), table.slice(cut)]
    for name, array in whole.items():
        assert same_bits(array, np.concatenate([encoding.encode(part)[name] for part in parts]))
        assert same_bits(array, encoding.encode(pa.concat_tables([table.slice(0, 0), *parts]))[name])
    rows = np.array(data.draw(st.lists(st.integers(0, len(table) - 1)) if len(table) else st.just([])), np.int64)
    bound = encoding.bind(table)
    for name, array in bound.columns(rows).items():
        assert same_bits(array, whole[name][rows])
    assert same_bits(bound.matrix(rows), matrix[rows])
    assert same_bits(pickle.loads(pickle.dumps(bound)).matrix(slice(cut, None)), matrix[cut:])


@settings(max_examples=25)
@given(encoded())
def test_json_keeps_everything(case: tuple[Encoding, pa.Table]) -> None:
    """What is read back is equal, has the same digest, and gives the same bits."""
    encoding, table = case
    back = Encoding.from_json(encoding.to_json())
    assert back == encoding
    assert back == Encoding.from_dict(json.loads(json.dumps(encoding.to_dict())))
    assert hash(back) == hash(encoding)
    assert back.digest == encoding.digest
    assert same_bits(back.matrix(table), encoding.matrix(table))
    assert pickle.loads(pickle.dumps(encoding)) == encoding


def test_the_docstring_tells_the_truth() -> None:
    """Its example gives what it says on rows of two months."""
    months = pa.array([datetime(2024, month, 9, tzinfo=UTC) for month in (1, 1, 3, 3)])
    rows = {"orders": pa.array([1, None, 3, None]), "page": ["home", "cart", "new", "cart"]}
    names = {"training": training_set_of(rows, timestamp=months), "Encoding": Encoding}
    (example,) = doctest.DocTestFinder(recurse=False).find(Encoding, "Encoding", globs=names)
    assert doctest.DocTestRunner().run(example) == (0, 5)


def test_layouts_of_one_type_are_one_type() -> None:
    """Dictionaries, large strings, views and a column of type null encode as the plain type does."""
    words = ["a", None, "b", "c"]
    encoding = Encoding.fit(training_set_of({"x": pa.array(["b", "a", None])}))
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert encoding.encode(pa.table({"x": pa.array(words, kind)}))["x"].tolist() == [1, 0, 2, 0]
    assert encoding.encode(pa.table({"x": pa.array(words).dictionary_encode()}))["x"].tolist() == [1, 0, 2, 0]
    assert encoding.encode(pa.table({"x": pa.nulls(2)}))["x"].tolist() == [0, 0]


def test_long_and_short_columns_of_words_agree() -> None:
    """Few words are looked up one by one, many all at once; the codes are the same."""
    words = [f"word {i}" for i in range(50)]
    encoding = Encoding.fit(training_set_of({"x": words}))
    asked = pa.array([*words, "other", None] * 2)
    codes = encoding.encode(pa.table({"x": asked}))["x"]
    assert codes.tolist() == [encoding.encode(pa.table({"x": asked.slice(i, 1)}))["x"][0] for i in range(len(asked))]
    assert codes[:52].tolist() == [*(np.argsort(np.argsort(words)) + 1).tolist(), 0, 0]


def test_whole_numbers_stay_exact() -> None:
    """2**53 + 1 beside a null, and the greatest unsigned number, are still those numbers."""
    rows = {"x": pa.array([2**53 + 1, None]), "y": pa.array([2**64 - 1, 0], pa.uint64())}
    arrays = Encoding.fit(training_set_of(rows), fill={"x": -1}).encode(pa.table(rows))
    assert arrays["x"].tolist() == [2**53 + 1, -1]
    assert arrays["y"].tolist() == [2**64 - 1, 0]


def test_what_is_given_is_nobodys_memory() -> None:
    """Writing into what an encoding gave changes neither the table nor what it gives next."""
    table = pa.table(
        {"x": pa.array([1.0, 2.0], pa.float32()), "v": pa.array([[1.0], [2.0]], pa.list_(pa.float32(), 1))}
    )
    encoding = Encoding.fit(training_set_of({"x": table["x"], "v": table["v"]}))
    bound = encoding.bind(table)
    for rows in (slice(None), np.array([0, 1])):
        for array in (*bound.columns(rows).values(), bound.matrix(rows)):
            array[:] = 99
    assert table.to_pydict() == {"x": [1.0, 2.0], "v": [[1.0], [2.0]]}
    assert bound.matrix().tolist() == [[1, 1], [2, 2]]


def test_a_table_of_one_chunk_is_looked_at_in_place() -> None:
    """Binding floats without nulls takes no memory to speak of."""
    table = pa.table({"x": pa.array(np.ones(100_000, np.float32))})
    encoding = Encoding.fit(training_set_of({"x": table["x"]}))
    before = pa.total_allocated_bytes()
    bound = encoding.bind(table)
    assert pa.total_allocated_bytes() == before
    assert not bound._pairs[0][1].values.flags.owndata


@pytest.mark.parametrize(
    "moments",
    [
        "2024-01-03T00:00:00Z",
        datetime(2024, 1, 3, tzinfo=UTC),
        1_704_240_000_000_000,
        np.array([1_704_240_000_000_000] * 2),
        np.array(["2024-01-03"] * 2, "datetime64[ns]"),
        pa.array([datetime(2024, 1, 3)] * 2),
        None,
    ],
)
def test_an_age_counts_to_the_moment(moments: Any) -> None:
    """One moment for all rows or one for each, in any form; by default the timestamp column's."""
    seen = pa.array([datetime(2024, 1, 2, 23, 59, 58), None], pa.timestamp("us", "UTC"))
    stamps = pa.array([datetime(2024, 1, 3, tzinfo=UTC)] * 2)
    learnt = training_set_of({"seen": seen}, timestamp=stamps)
    encoding = Encoding.fit(learnt, ages=True)
    table = learnt.table if moments is None else pa.table({"seen": seen})
    assert same_bits(encoding.matrix(table, moments=moments), np.array([[2], [np.nan]], np.float32))


def test_rows_of_every_library_are_encoded() -> None:
    """Plain columns, plain rows, pandas and Polars give what the Arrow table does; a table alone fits nothing."""
    table = pa.table({"x": [1.5, None], "n": [3, 4]})
    encoding = Encoding.for_schema(table.schema, ["n", "x"])
    right = encoding.matrix(table).tobytes()
    for rows in (table.to_pydict(), table.to_pylist(), pl.from_arrow(table), table.to_batches()[0]):
        assert encoding.matrix(rows).tobytes() == right
        assert encoding.encode(rows)["n"].tolist() == [3, 4]
    assert encoding.matrix(pd.DataFrame({"n": [3], "x": [1.5]})).tolist() == [[3.0, 1.5]]
    with pytest.raises(DataError, match="training_set is of type Table, not a TrainingSet"):
        Encoding.fit(table)
