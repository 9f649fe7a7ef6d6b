"""Hashing a table by what it says."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.values.fingerprint import hash_table

CELLS = {
    "int": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": (pa.float64(), st.floats(allow_nan=False)),
    "text": (pa.string(), st.text(max_size=4)),
    "bytes": (pa.binary(), st.binary(max_size=4)),
    "flag": (pa.bool_(), st.booleans()),
    "list": (pa.list_(pa.int32()), st.lists(st.none() | st.integers(0, 9), max_size=3)),
    "fixed": (pa.list_(pa.float32(), 2), st.lists(st.integers(0, 9).map(float), min_size=2, max_size=2)),
    "decimal": (pa.decimal128(5, 0), st.decimals(-999, 999, places=0)),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A table of every type, nulls among the values."""
    size = draw(st.integers(0, 6))
    columns = {
        name: pa.array(draw(st.lists(st.none() | cells, min_size=size, max_size=size)), dtype)
        for name, (dtype, cells) in CELLS.items()
    }
    return pa.table(columns)


@given(tables(), st.integers(0, 6), st.integers(0, 3))
def test_layout_does_not_count(table: pa.Table, cut: int, padding: int) -> None:
    """Chunks, offsets and slices leave the hash alone."""
    cut = min(cut, table.num_rows)
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    around = pa.concat_tables([table.slice(0, padding), table]).combine_chunks()
    sliced = around.slice(around.num_rows - table.num_rows)
    assert hash_table(table) == hash_table(chunked) == hash_table(sliced)


@given(tables(), tables())
def test_different_tables_differ(one: pa.Table, other: pa.Table) -> None:
    """Equal hashes mean equal tables: values, nulls and order."""
    # -0.0 equals 0.0 to Arrow, and is another value to the hash.
    same = one.equals(other) and str(one.to_pylist()) == str(other.to_pylist())
    assert (hash_table(one) == hash_table(other)) == same


@pytest.mark.parametrize(
    "other",
    [
        pa.table({"b": pa.array([1, 2])}),
        pa.table({"a": pa.array([1, 2], pa.int32())}),
        pa.table({"a": pa.array([2, 1])}),
        pa.table({"a": pa.array([1, None])}),
        pa.table({"a": pa.array([1])}),
    ],
)
def test_names_types_order_and_nulls_count(other: pa.Table) -> None:
    """What a table says is its names, types, rows and nulls."""
    assert hash_table(pa.table({"a": pa.array([1, 2])})) != hash_table(other)


def test_what_lies_under_a_null_does_not_count() -> None:
    """Two arrays equal but for the bytes behind their nulls hash alike."""
    clean = pa.table({"a": pa.array([1, None])})
    dirty = pa.Array.from_buffers(pa.int64(), 2, [clean["a"].chunk(0).buffers()[0], pa.array([1, 99]).buffers()[1]])
    assert hash_table(clean) == hash_table(pa.table({"a": dirty}))


def test_a_dictionary_is_its_values() -> None:
    """Dictionary encoding is layout."""
    plain = pa.array(["x", "y", "x"])
    assert hash_table(pa.table({"a": plain})) == hash_table(pa.table({"a": plain.dictionary_encode()}))
