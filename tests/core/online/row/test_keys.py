"""How an entity's key becomes bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.online.redis.names import Names
from fs_core.online.row.keys import pack_keys, unpack_keys

WHOLE = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def numbers(dtype: str) -> st.SearchStrategy[int]:
    """Return whole numbers of a type, those around powers of two often."""
    info = np.iinfo(dtype)
    lowest, highest = int(info.min), int(info.max)
    edges = [s * 2**power + d for power in range(65) for d in (-1, 0, 1) for s in (-1, 1)]
    return st.sampled_from([n for n in edges if lowest <= n <= highest]) | st.integers(lowest, highest)


def shortest(number: int, signed: bool) -> bytes:
    """Return the fewest bytes that hold a number, by trying."""
    for size in range(1, 9):
        try:
            return number.to_bytes(size, "big", signed=signed)
        except OverflowError:
            continue
    raise AssertionError(number)


@pytest.mark.parametrize("dtype", WHOLE)
@settings(max_examples=30)
@given(data=st.data(), repeats=st.sampled_from([1, 50]))
def test_whole_numbers_are_as_short_as_they_may(dtype: str, data: st.DataObject, repeats: int) -> None:
    """A whole number at the end of a key takes as few bytes as hold it, few rows or many, nulls among them or not."""
    drawn = data.draw(st.lists(numbers(dtype) | st.none(), max_size=6)) * repeats
    array = pa.array([0, *drawn], dtype)[1:]  # begins amid a buffer
    expected = [None if number is None else shortest(number, dtype.startswith("i")) for number in drawn]
    assert pack_keys([array]) == expected
    first = pa.array([7] * len(drawn), "int32")
    assert pack_keys([first, array]) == [None if end is None else b"\0\0\0\7" + end for end in expected]


@pytest.mark.parametrize("dtype", WHOLE)
@given(key=st.binary(max_size=10))
def test_only_the_shortest_form_is_a_key(dtype: str, key: bytes) -> None:
    """Bytes are a whole number's key only if it is packed to them."""
    found, sound = unpack_keys({"k": pa.type_for_alias(dtype)}, [key])
    assert pack_keys([found["k"].combine_chunks()]) == [key if sound[0] else None]


@pytest.mark.parametrize("dtype", WHOLE)
@settings(max_examples=50)
@given(data=st.data())
def test_keys_that_are_unpacked_together_are_what_each_is_alone(dtype: str, data: st.DataObject) -> None:
    """Numbers of any length beside each other, and bytes among them that are no key."""
    drawn = data.draw(st.lists(numbers(dtype), max_size=20))
    keys = pack_keys([pa.array(drawn, dtype)])
    types = {"k": pa.type_for_alias(dtype)}
    found, sound = unpack_keys(types, keys)
    assert found["k"].to_pylist() == drawn
    assert sound.all()
    wrong = data.draw(st.binary(max_size=10))
    place = data.draw(st.integers(0, len(keys)))
    keys.insert(place, wrong)
    alone = [unpack_keys(types, [key]) for key in keys]
    found, sound = unpack_keys(types, keys)
    assert found["k"].to_pylist() == [one["k"][0].as_py() for one, _ in alone]
    assert sound.tolist() == [bool(ok[0]) for _, ok in alone]


KEYS: Any = st.lists(
    st.binary(max_size=4) | st.lists(st.sampled_from([b"{", b"}", b"\xff", b"\0"])).map(b"".join), unique=True
)


@settings(max_examples=300)
@given(keys=KEYS, project=st.text("abz019_.-", min_size=1), views=st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_names_of_rows(keys: list[bytes], project: str, views: list[str]) -> None:
    """Names come apart again, none is another's, and all of an entity share their cluster slot."""
    names = Names(project)
    made = {view: names.rows(keys, view) for view in views}
    assert len({name for rows in made.values() for name in rows}) == len(keys) * len(made)
    for view, rows in made.items():
        assert [names.key(name) for name in rows] == keys
        assert all(name.endswith(b"}" + names.mark(view)) for name in rows)
        if keys:
            assert names.arguments(keys, view) == b"".join(b"$%d\r\n%b\r\n" % (len(name), name) for name in rows)
    for rows in zip(*made.values(), strict=True):
        assert len({hash_tag(name) for name in rows}) == 1


def hash_tag(name: bytes) -> bytes:
    """Return what a cluster hashes of a name: the bytes between its first brace and the next closing one, if any."""
    _, opened, rest = name.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return tag if opened and closed and tag else name


@pytest.mark.parametrize(
    ("number", "size"), [(0, 11), (127, 11), (-128, 11), (2**23 - 1, 13), (2**31 - 1, 14), (2**63 - 1, 18)]
)
def test_how_long_names_are(number: int, size: int) -> None:
    """An entity that four bytes hold has a name that fits, with the server's two bytes, into 16."""
    (key,) = pack_keys([pa.array([number], pa.int64())])
    assert key is not None
    assert [len(name) for name in Names("p").rows([key], "v-1")] == [size]
