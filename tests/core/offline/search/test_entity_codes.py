"""Keys become numbers and back: the same number exactly for the same key, in the keys' order."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.offline.search.entity_codes import UNKNOWN, KeyDictionary
from fs_core.testing.histories import KEYS, values
from fs_core.values import dtypes


def keys_of(rows: list[tuple[Any, ...]], types: list[str]) -> pa.Table:
    """Rows of keys as a table, one column for each type."""
    columns = {f"k{i}": pa.chunked_array([[row[i] for row in rows]], dtypes.resolve(t)) for i, t in enumerate(types)}
    return pa.table(columns)


@settings(max_examples=150)
@given(data=st.data(), types=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3))
def test_a_code_is_the_index_among_the_sorted_keys(data: st.DataObject, types: list[str]) -> None:
    """Known keys get their index in the order of Arrow's sort, others nothing, whether few or many are asked."""
    domains = [data.draw(st.lists(values(dtypes.resolve(t)), min_size=3, max_size=6)) for t in types]
    row = st.tuples(*(st.sampled_from(domain) for domain in domains))
    known = data.draw(st.lists(row, min_size=1, max_size=30))
    asked = known + data.draw(st.lists(row, max_size=8))
    table = keys_of(known, types)
    dictionary, codes = KeyDictionary.of(table)
    distinct = table.group_by(table.column_names).aggregate([])
    ordered = distinct.sort_by([(name, "ascending") for name in table.column_names]).to_pylist()
    expected = {tuple(key.values()): index for index, key in enumerate(ordered)}
    as_read = [tuple(key.values()) for key in keys_of(asked, types).to_pylist()]
    answers = [expected.get(key, UNKNOWN) for key in as_read]
    assert codes.tolist() == answers[: len(known)]
    assert dictionary.size == len(expected)
    assert dictionary.codes(keys_of(asked, types)).tolist() == answers
    assert dictionary.codes(keys_of(asked * 20, types)).tolist() == answers * 20


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint64", "date", "timestamp", "bool"])
def test_whole_numbers_at_the_ends_of_their_range(dtype: str) -> None:
    """The least and the greatest are found, and what lies beside them isn't."""
    resolved = dtypes.resolve(dtype)
    ends: list[Any] = {
        "int8": [-128, 127],
        "int64": [-(2**63), 2**63 - 1],
        "uint64": [0, 2**64 - 1],
        "date": [-719162, 2932896],
        "timestamp": [-(2**62), 2**62],
        "bool": [0, 1],
    }[dtype]
    column = pa.chunked_array([pa.array(ends).cast(resolved) if dtype == "bool" else _cast(ends, resolved)])
    dictionary, codes = KeyDictionary.of(pa.table({"k": column}))
    assert codes.tolist() == [0, 1]
    assert dictionary.codes(pa.table({"k": column.take([1, 0])})).tolist() == [1, 0]
    if dtype != "bool":
        beside = pa.table({"k": pa.chunked_array([_cast([ends[0] + 1, ends[1] - 1], resolved)])})
        assert dictionary.codes(beside).tolist() == [UNKNOWN, UNKNOWN]


def _cast(numbers: list[int], dtype: pa.DataType) -> pa.Array:
    whole = pa.int32() if pa.types.is_date(dtype) else pa.int64() if pa.types.is_timestamp(dtype) else dtype
    return pa.array(numbers, whole).cast(dtype)


@pytest.mark.parametrize("numbers", [range(-5000, 5000), range(0, 10**6, 10**3), [2**63, 2**63 + 1, 2**64 - 1]])
def test_dense_and_sparse_numbers(numbers: Any) -> None:
    """A table of codes or a search among the numbers: the answers are the same."""
    dtype = pa.uint64() if max(numbers) >= 2**63 else pa.int64()
    dictionary, codes = KeyDictionary.of(pa.table({"k": pa.chunked_array([pa.array(numbers, dtype)])}))
    assert codes.tolist() == list(range(len(numbers)))
    asked = [numbers[0], numbers[-1], numbers[0] + 2, 10**7] + ([] if dtype == pa.uint64() else [-(2**63), 2**63 - 1])
    found = dictionary.codes(pa.table({"k": pa.chunked_array([pa.array(asked, dtype)])})).tolist()
    assert found == [list(numbers).index(n) if n in numbers else UNKNOWN for n in asked]


def test_text_is_compared_as_bytes() -> None:
    """Signs beyond the basic plane sort as UTF-8 does, and the few are found as the many are."""
    texts = ["", "a", "a\x00", "é", "\ue000", "\U0001f600", "z" * 300]
    table = pa.table({"k": pa.chunked_array([texts])})
    dictionary, codes = KeyDictionary.of(table)
    assert dictionary.codes(table).tolist() == codes.tolist()
    many = pa.table({"k": pa.chunked_array([[*texts, "b"] * 20])})
    assert dictionary.codes(many).tolist() == [*codes.tolist(), UNKNOWN] * 20
