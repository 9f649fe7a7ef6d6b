"""Searching, folding and painting, against the obvious way to do it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fs_core.windows.numbers.ranges import covering, folded, least_possible, painted
from fs_core.windows.times import NEVER, Packing, Times, least_of_later, offsets_of

RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted), max_size=30)
FOLDS = st.sampled_from([np.minimum, np.maximum])


@given(st.lists(st.integers(-9, 9), min_size=40, max_size=40), RANGES, st.integers(1, 60), FOLDS)
def test_folded_ranges(numbers: list[int], ranges: list[list[int]], times: int, fold: np.ufunc) -> None:
    """Few or many ranges, short or long, give what looking at each gives."""
    values = np.array(numbers, np.float64)
    values[values == 9] = np.nan
    repeated = ranges * times  # many of them take the other way
    found = folded(values, *(np.array([r[i] for r in repeated], np.int64) for i in (0, 1)), fold)
    nothing = least_possible(values, fold)
    expected = [fold.reduce(values[a:b], initial=nothing) for a, b in repeated]
    np.testing.assert_array_equal(found, np.array(expected, np.float64))


@given(RANGES.map(lambda ranges: [r for r in ranges if r[0] < r[1]]), FOLDS)
def test_painted_lives(ranges: list[list[int]], fold: np.ufunc) -> None:
    """Each question gets the extreme of the lives that cover it, and how many these are."""
    numbers = np.arange(len(ranges), dtype=np.int32) * 7 % 11
    first, last = (np.array([r[i] for r in ranges], np.int64) for i in (0, 1))
    found = painted(first, last, numbers, 41, fold)
    counts = covering(first, last, None, 41)
    for question in range(41):
        mine = numbers[(first <= question) & (question < last)]
        assert found[question] == fold.reduce(mine, initial=least_possible(numbers, fold))
        assert counts[question] == len(mine)


TIMES = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([-(2**61), -1, 0, 1, 2, 2**60, 2**61])), max_size=30)


@given(rows=TIMES, asked=TIMES)
def test_rank(rows: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    """The index after the last moment that isn't later, however far moments and entities are apart."""
    rows, asked = sorted(rows), sorted(asked)
    codes, times = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
    known = Times.of(codes, times, offsets_of(codes, 6))
    found = known.rank(*(np.array([row[i] for row in asked], np.int64) for i in (0, 1)))
    for (code, moment), index in zip(asked, found, strict=True):
        assert index == sum(c < code or (c == code and t <= moment) for c, t in rows)
    assert known.at(np.arange(len(rows))).tolist() == times.tolist()


@given(rows=TIMES)
def test_the_least_of_what_comes_later(rows: list[tuple[int, int]]) -> None:
    """Behind an entity's last row there is nothing."""
    rows = sorted(rows, key=lambda row: row[0])
    codes, times = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
    for index, found in enumerate(least_of_later(codes, times)):
        later = [t for c, t in rows[index + 1 :] if c == codes[index]]
        assert found == min(later, default=NEVER)


def test_entities_are_numbered_anew_in_each_group() -> None:
    """Sixty-three bits hold a moment, and as many entities as are left room for."""
    packing = Packing.of(np.array([0, 2**61]))
    assert packing.group_bits == 1
    assert [(n, part.start, part.stop) for n, part in packing.groups(np.array([0, 1, 1, 4, 5]))] == [
        (0, 0, 3),
        (2, 3, 5),
    ]
