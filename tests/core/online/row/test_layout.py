"""The checksum of packed rows: what it finds, and that few rows are checked as many are."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureView, Field
from fs_core.online.row.layout import Layout, layout_of


def layout(features: int, dtype: str = "float64") -> Layout:
    """Return the layout of rows with so many features of one type."""
    fields = [Field(f"f{i}", dtype) for i in range(features)]
    return layout_of(FeatureView("v", entity=Entity("e", keys={"k": "int64"}), fields=fields))


KEY = b"an entity"


def sealed(made: Layout, body: bytes, key: bytes = KEY) -> bytes:
    """Return a row of a layout with these bytes behind its seal."""
    heads = np.frombuffer(bytearray(4) + body, made.head).copy()
    heads["__seal"] = made.seals([key], heads)
    return heads.tobytes()


@settings(max_examples=60)
@given(data=st.data(), features=st.integers(1, 20), dtype=st.sampled_from(["int8", "int16", "float32", "float64"]))
def test_few_rows_are_checked_as_many_are(data: st.DataObject, features: int, dtype: str) -> None:
    """A row is sound or not whichever way it is looked at: alone, or among many."""
    made = layout(features, dtype)
    size = made.size - 4
    rows = [sealed(made, data.draw(st.binary(min_size=size, max_size=size))) for _ in range(12)]
    for index in data.draw(st.sets(st.integers(0, 11))):
        bit = data.draw(st.integers(0, made.size * 8 - 1))
        flipped = bytearray(rows[index])
        flipped[bit // 8] ^= 1 << bit % 8
        rows[index] = bytes(flipped)
    _, _, together = made.read([KEY] * len(rows), rows)
    apart = [made.read([KEY], [row])[2] for row in rows]
    assert [sound is None for sound in apart] == ([True] * 12 if together is None else together.tolist())


@pytest.mark.parametrize(("features", "dtype"), [(10, "float64"), (1, "int8"), (3, "int8"), (20, "float64")])
def test_every_flip_of_one_or_two_bits_is_found(features: int, dtype: str) -> None:
    """No one bit, and no two, can change in a row of this length without changing its checksum.

    A flip adds or takes away a multiple of a multiplier, whatever else is in the row; it goes unseen only if the sum
    stays within the lower half of 64 bits. So sums are looked at, not rows.
    """
    made = layout(features, dtype)
    size = made.size
    zero = np.frombuffer(bytes(size), made.head)
    base = _sums(zero)
    changes = []
    for bit in range(32, size * 8):
        flipped = bytearray(size)
        flipped[bit // 8] |= 1 << bit % 8
        changes.append((_sums(np.frombuffer(bytes(flipped), made.head)) - base)[0])
    one = np.array(changes, np.uint64)
    assert (_distance(one) >= 1 << 32).all()
    signed = np.concatenate([one, -one])
    first, second = np.triu_indices(len(signed), 1)
    apart = first % len(one) != second % len(one)
    step = 4_000_000
    for start in range(0, len(first), step):
        part = slice(start, start + step)
        both = signed[first[part]] + signed[second[part]]
        assert (_distance(both)[apart[part]] >= 1 << 32).all()


def _sums(heads: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Return the sums of which checksums are the upper half."""
    from fs_core.online.row import layout as module

    return module._sums(heads)


def _distance(sums: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Return how far sums modulo 2**64 are from nothing."""
    return np.minimum(sums, -sums)


@settings(max_examples=40)
@given(data=st.data(), count=st.sampled_from([1, 20]))
def test_the_bytes_of_another_meaning(data: st.DataObject, count: int) -> None:
    """A whole row of a view whose rows are as long but mean something else is not sound, few or many of them."""
    one, other = layout(3, "int64"), layout(3, "float64")
    rows = [sealed(one, data.draw(st.binary(min_size=one.size - 4, max_size=one.size - 4))) for _ in range(count)]
    assert one.size == other.size
    assert one.read([KEY] * count, rows)[2] is None
    found = other.read([KEY] * count, rows)[2]
    assert found is not None
    assert not found.any()


@settings(max_examples=40)
@given(keys=st.lists(st.binary(max_size=20), min_size=2, max_size=20, unique=True), data=st.data())
def test_the_row_of_another_entity(keys: list[bytes], data: st.DataObject) -> None:
    """A whole row is sound under the key that it was packed for, and under no other."""
    made = layout(3, "int64")
    rows = [sealed(made, data.draw(st.binary(min_size=made.size - 4, max_size=made.size - 4)), key) for key in keys]
    assert made.read(keys, rows)[2] is None
    moved = data.draw(st.permutations(range(len(keys))))
    found = made.read(keys, [rows[index] for index in moved])[2]
    expected = [index == i for i, index in enumerate(moved)]
    assert (expected if found is None else found.tolist()) == expected


def test_nothing_is_never_sound() -> None:
    """Where there is no row none is found, whatever the key: what stands in for it is not judged by its seal."""
    made = layout(1, "int8")
    # The one key in four billion under which a row of zeros has a right seal is found by turning the seal around.
    key = _key_with_crc(int(made.seals([b""], np.zeros(1, made.head))[0]))
    assert made.read([key], [bytes(made.size)])[2] is None
    assert made.read([key], [None])[2].tolist() == [False]  # type: ignore[union-attr]
    assert made.read([key] * 9, [None] * 9)[2].tolist() == [False] * 9  # type: ignore[union-attr]


def _key_with_crc(wanted: int) -> bytes:
    """Return the key of four bytes that has a CRC-32: each bit of the key flips fixed bits of it."""
    rest, base = wanted ^ zlib.crc32(bytes(4)), zlib.crc32(bytes(4))
    basis: dict[int, tuple[int, int]] = {}
    for bit in range(32):
        change, bits = zlib.crc32((1 << bit).to_bytes(4, "little")) ^ base, 1 << bit
        while change and change.bit_length() in basis:
            other, others = basis[change.bit_length()]
            change, bits = change ^ other, bits ^ others
        if change:
            basis[change.bit_length()] = change, bits
    key = 0
    while rest:
        change, bits = basis[rest.bit_length()]
        rest, key = rest ^ change, key ^ bits
    assert zlib.crc32(key.to_bytes(4, "little")) == wanted
    return key.to_bytes(4, "little")


def test_zeros_are_no_row() -> None:
    """A row of zeros, as a broken disk leaves it, is not sound."""
    for features in (1, 10):
        made = layout(features)
        assert made.read([KEY], [bytes(made.size)])[2] is not None
        assert made.read([KEY] * 20, [bytes(made.size)] * 20)[2] is not None


@pytest.mark.parametrize("count", [2, 20])
def test_rows_that_are_as_long_together(count: int) -> None:
    """Rows of a wrong length are found where all together are as long as they should be; the others stay sound."""
    made = layout(3)
    whole = sealed(made, bytes(range(made.size - 4)))
    found = made.read([KEY] * count, [whole[:-1], whole + whole[:1], *[whole] * (count - 2)])[2]
    assert found is not None
    assert found.tolist() == [False] * 2 + [True] * (count - 2)
