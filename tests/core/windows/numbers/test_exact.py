"""Exact sums: what `math.fsum` and fractions give, for any numbers whatever."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.testing.events import HARD_FLOATS
from fs_core.testing.window_oracle import nearest, nearest_root
from fs_core.windows.numbers.exact import ORIGIN, WIDTH, Digits, Limbs, Prefix, addends_of, bit_length
from fs_core.windows.numbers.exact import nearest as nearest_floats
from fs_core.windows.numbers.spread import decimals_as_floats, spread
from fs_core.windows.prepared import running_sums

FLOATS = st.sampled_from(HARD_FLOATS) | st.floats(allow_nan=False, allow_infinity=False)
MONEY = st.integers(-(10**9), 10**9).map(lambda cents: cents / 100)
LISTS = st.lists(FLOATS, min_size=1, max_size=20) | st.lists(MONEY, min_size=1, max_size=20)


def summed(column: pa.Array, *, squares: bool = False) -> Limbs:
    """Return the limbs of the sum of a column."""
    addends = addends_of(column)
    return {k: np.array([v.sum()]) for k, v in (addends.squares() if squares else addends).limbs()}


def whole(limbs: Limbs, origin: int = ORIGIN) -> Fraction:
    """Return what limbs stand for."""
    return Fraction(sum(int(values[0]) << (WIDTH * limb) for limb, values in limbs.items()), 1 << origin)


@given(LISTS)
def test_a_sum_of_floats_is_rounded_once(values: list[float]) -> None:
    """The sum is the float nearest to the exact one, and has no sign if it is zero."""
    (found,) = Digits.of(summed(pa.array(values)), 1).to_float()
    exact = nearest(sum(map(Fraction, values), Fraction()))
    assert (found, math.copysign(1, found)) == (exact, math.copysign(1, exact))
    assert whole(summed(pa.array(values), squares=True), 2 * ORIGIN) == sum(Fraction(x) ** 2 for x in values)


@given(st.lists(LISTS, min_size=1, max_size=5), st.integers(0, 20), st.data())
def test_sums_of_few_limbs_are_rounded_as_others(rows: list[list[float]], bits: int, data: st.DataObject) -> None:
    """Sums whose limbs fit two words, and all others, are what their digits say: near ties, too, and of any sign."""
    numbers = {k for values in rows for k in summed(pa.array(values))}
    sums = [summed(pa.array(values)) for values in rows]
    limbs = {k: np.concatenate([each.get(k, np.zeros(1, np.int64)) for each in sums]) for k in numbers}
    ties = data.draw(st.lists(st.integers(-2, 2), min_size=len(rows), max_size=len(rows)))
    lowest = data.draw(st.integers(1, 60))
    near = {lowest: np.array(ties), lowest + 1: (np.array(ties) * 3 + 1) << bits, lowest + 2: np.array(ties) << bits}
    for mine in (limbs, near, {lowest: near[lowest]}, {lowest: near[lowest], lowest + 2: near[lowest + 2]}, {}):
        found, exact = nearest_floats(mine, len(rows)), Digits.of(mine, len(rows)).to_float()
        assert found.tolist() == exact.tolist()
        assert not np.signbit(found[found == 0]).any()


WORDS = st.integers(-(2**62), 2**62) | st.integers(-(2**53) - 2, 2**53 + 2) | st.sampled_from([0, 1, -1, 2**32, 2**53])


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5), st.integers(1, 63))
def test_sums_of_two_limbs_are_rounded_once(sums: list[tuple[int, int]], lowest: int) -> None:
    """Whether a float holds each limb or not."""
    limbs = {lowest + i: np.array([words[i] for words in sums], np.int64) for i in (0, 1)}
    exact = [nearest((low + (high << WIDTH)) * Fraction(2) ** (WIDTH * lowest - ORIGIN)) for low, high in sums]
    found = nearest_floats(limbs, len(sums))
    assert list(zip(found, np.signbit(found), strict=True)) == [(x, math.copysign(1, x) < 0) for x in exact]


@given(LISTS, st.integers(0, 40))
def test_limbs_have_room_for_what_is_added_up(values: list[float], bits: int) -> None:
    """However many are added up, so that the first is wider or not, limbs are numbered from 0 and don't run over."""
    limbs = dict(addends_of(pa.array(values)).limbs(1 << bits))
    assert min(limbs, default=0) >= 0
    assert all(int(np.abs(limb).max()) << bits < 2**57 or np.abs(limb).max() < 2**33 for limb in limbs.values())
    assert whole({k: np.array([v.sum()]) for k, v in limbs.items()}) == sum(map(Fraction, values), Fraction())


@given(LISTS, st.data())
def test_ranges_of_running_sums(values: list[float], data: st.DataObject) -> None:
    """The sum of any range is a difference of running sums, exactly; zeros that are left out don't matter."""
    spread_out = [x for value in values for x in [value, *[0.0] * data.draw(st.sampled_from([0, 5]))]]
    running = running_sums(iter([addends_of(pa.array(spread_out))]), len(spread_out))
    start = data.draw(st.integers(0, len(spread_out)))
    end = data.draw(st.integers(start, len(spread_out)))
    limbs = {k: prefix.between(np.array([start]), np.array([end])) for k, prefix in running.items()}
    assert whole(limbs) == sum(map(Fraction, spread_out[start:end]), Fraction())


@given(st.sampled_from(["int8", "int64", "uint32", "uint64", "bool"]), st.data())
def test_a_sum_of_whole_numbers(dtype: str, data: st.DataObject) -> None:
    """Whole numbers of any width add up exactly, and so do their squares."""
    kind = pa.type_for_alias(dtype)
    low, high = (0, 1) if dtype == "bool" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    numbers = data.draw(st.lists(st.integers(low, high) | st.sampled_from([low, high]), min_size=1, max_size=9))
    column = pa.array([bool(n) for n in numbers] if dtype == "bool" else numbers, kind)
    assert whole(summed(column)) == sum(numbers)
    assert whole(summed(column, squares=True), 2 * ORIGIN) == sum(n * n for n in numbers)


@given(st.lists(st.integers(-(10**38) + 1, 10**38 - 1), min_size=1, max_size=9), st.integers(0, 38))
def test_decimals(digits: list[int], scale: int) -> None:
    """Decimals add up exactly; the float nearest to the sum, the variance and its root are rounded once."""
    column = pa.array([decimal(n, scale) for n in digits], pa.decimal128(38, scale))
    sums, squares = summed(column), summed(column, squares=True)
    assert whole(sums) == sum(digits)
    (found,) = decimals_as_floats(Digits.of(sums, 1), scale)
    assert found == nearest(Fraction(sum(digits), 10**scale))
    assert_spread([Fraction(n, 10**scale) for n in digits], sums, squares, scale)


@given(LISTS)
def test_variance_and_root_are_rounded_once(values: list[float]) -> None:
    """However near numbers are to each other, and however far from zero."""
    assert_spread(list(map(Fraction, values)), summed(pa.array(values)), summed(pa.array(values), squares=True), 0)


def assert_spread(numbers: Sequence[Fraction], sums: Limbs, squares: Limbs, scale: int) -> None:
    """Compare variance and standard deviation with fractions."""
    count, total = len(numbers), sum(numbers, Fraction())
    if count < 2:
        return
    exact = (sum((x * x for x in numbers), Fraction()) - total * total / count) / (count - 1)
    parts: tuple[Any, ...] = np.array([count]), Digits.of(sums, 1), Digits.of(squares, 1), scale
    assert spread(*parts, root=False)[0] == nearest(exact)
    assert spread(*parts, root=True)[0] == nearest_root(exact)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63, 2**64 - 1])
def test_bit_length(number: int) -> None:
    """As Python counts bits."""
    assert bit_length(np.array([number], np.uint64))[0] == number.bit_length()


def test_few_numbers_among_zeros_take_little() -> None:
    """Where three of four numbers are zero, only the others are kept."""
    values = np.zeros(1000, np.int64)
    values[::10] = 1
    prefix = Prefix.of(values)
    assert len(prefix.sums) == 101
    assert prefix.between(np.array([0, 5]), np.array([1000, 25])).tolist() == [100, 2]


def decimal(digits: int, scale: int) -> Decimal:
    """Return a decimal by its digits."""
    return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -scale))
