"""Hashing rows whatever their order."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.testing.histories import SCALARS, nullable
from fs_core.testing.oracle import bits
from fs_core.values.dtypes import resolve
from fs_core.values.row_sums import MODULUS, alike, hash_sum, sum_of_rows

TYPES = {name: resolve(name) for name in (*SCALARS, "list<float32>", "list<float32>[2]", "list<string>", "list<bool>")}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A table of some types, nulls among the values."""
    size = draw(st.integers(0, 4))
    names = draw(st.lists(st.sampled_from(sorted(TYPES)), max_size=3, unique=True))
    cells = {name: draw(st.lists(nullable(TYPES[name]), min_size=size, max_size=size)) for name in names}
    return pa.table({name: pa.array(values, TYPES[name]) for name, values in cells.items()})


def hashed(table: pa.Table) -> str:
    """Return the hash of a table's rows in any order."""
    same = alike(table)
    return hash_sum(same.schema, same.num_rows, sum_of_rows(same))


def counted(table: pa.Table) -> Counter[object]:
    """Return how often each row is there, by its bits."""
    return Counter(bits(row) for row in table.to_pylist())


@settings(max_examples=40)
@given(st.data(), tables(), st.integers(0, 4))
def test_order_and_layout_do_not_count(data: st.DataObject, table: pa.Table, cut: int) -> None:
    """Rows in another order, chunks and slices leave the hash alone; the sums of parts add up to the whole's."""
    rows = data.draw(st.permutations(range(table.num_rows)))
    around = pa.concat_tables([table, table, table]).combine_chunks().slice(table.num_rows, table.num_rows)
    assert hashed(table) == hashed(around) == hashed(table.take(pa.array(rows, pa.int64())))
    whole = alike(table)
    parts = sum_of_rows(whole.slice(0, cut)) + sum_of_rows(whole.slice(cut))
    assert parts % MODULUS == sum_of_rows(whole)


@settings(max_examples=40)
@given(st.data(), tables())
def test_other_rows_differ(data: st.DataObject, table: pa.Table) -> None:
    """Equal hashes mean equal rows, each as often: values by their bits, and nulls."""
    one, other = (table.take(pa.array(data.draw(chosen(table)), pa.int64())) for _ in "ab")
    assert (hashed(one) == hashed(other)) == (counted(one) == counted(other))


def chosen(table: pa.Table) -> st.SearchStrategy[list[int]]:
    """Some rows of a table, perhaps again and again."""
    return st.lists(st.integers(0, table.num_rows - 1), max_size=4) if table.num_rows else st.just([])


def test_names_types_and_nesting_count() -> None:
    """Columns that concatenate alike are told apart, and so are lists of lists, empty or null."""
    lists = pa.list_(pa.list_(pa.string()))
    cells: list[Any] = [None, [], [None], [[]], [[None]], [["", "a"]], [["a"]]]
    different = [
        pa.table({"a": ["x", "y"]}),
        pa.table({"b": ["x", "y"]}),
        pa.table({"a": ["x", None]}),
        pa.table({"a": [1, 2]}),
        pa.table({"a": pa.array([1, 2], pa.int32())}),
        pa.table({"a": ["ab", ""], "b": ["", "c"]}),
        pa.table({"a": ["a", ""], "b": ["b", "c"]}),
        *(pa.table({"a": pa.array([cell], lists)}) for cell in cells),
        pa.table({"a": pa.array([{"x": None}], pa.struct([("x", pa.int64())]))}),
        pa.table({"a": pa.array([None], pa.struct([("x", pa.int64())]))}),
    ]
    assert len({hashed(table) for table in different}) == len(different)


def test_what_engines_show_differently_is_alike() -> None:
    """Lists of one length, zones and dictionaries are how a value is shown."""
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    one = pa.table(
        {
            "l": pa.array([[1.0, None], None], pa.list_(pa.float32(), 2)),
            "t": pa.array([moment, None], pa.timestamp("ms", "Europe/Berlin")),
            "s": pa.array(["a", None]).dictionary_encode(),
        }
    )
    other = pa.table(
        {
            "l": pa.array([[1.0, None], None], pa.list_(pa.float32())),
            "t": pa.array([moment, None], pa.timestamp("us", "UTC")),
            "s": pa.array(["a", None], pa.large_string()),
        }
    )
    assert hashed(one) == hashed(other)
