"""Folds in order of time: nothing learns from the future, whatever form the times come in."""

from __future__ import annotations

import doctest
import pickle
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import skops.io
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, check_cv, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline

import fs_sklearn.split
from fs_core.errors import DataError, DefinitionError, SchemaError
from fs_core.values.times import parse_duration
from fs_sklearn import SKOPS_TRUSTED_TYPES, PointInTimeSplit

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = [START + timedelta(days=n) for n in range(8)]
FOLDS = [([0, 1], [2, 3]), ([0, 1, 2, 3], [4, 5]), ([0, 1, 2, 3, 4, 5], [6, 7])]
"""What three folds of `DAYS` are."""


def folds(times: Any, n_splits: int = 3, **settings: Any) -> list[tuple[list[int], list[int]]]:
    """Split, and return positions as lists."""
    return [(train.tolist(), test.tolist()) for train, test in PointInTimeSplit(n_splits, **settings).split(times)]


# A few days, so that ties abound, or the microseconds about a boundary; before 1970 too.
offsets = st.lists(st.integers(0, 9).map(lambda n: timedelta(days=n)), min_size=2, max_size=40) | st.lists(
    st.integers(0, 60).map(lambda n: timedelta(microseconds=n)), min_size=2, max_size=40
)
starts = st.sampled_from(
    [START, datetime(1969, 12, 31, 23, 59, 59, 999_980, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)]
)
moments = st.builds(lambda start, off: [start + offset for offset in off], starts, offsets)
embargoes = st.sampled_from(["0s", "1us", "7us", "1d", "2d12h", timedelta(days=3), timedelta.max])
"""Gaps of every kind, the longest that there is among them."""


@given(times=moments, n_splits=st.integers(1, 6), embargo=embargoes)
def test_training_rows_are_all_that_lie_before_the_gap(
    times: list[datetime], n_splits: int, embargo: timedelta | str
) -> None:
    """Every training row's time plus the embargo is strictly before every test row's time; no other row is left out.

    Folds of which one has nothing to learn from are refused, never yielded.
    """
    assume(len(set(times)) > n_splits)
    gap = parse_duration(embargo)
    tests = [test for _, test in folds({"event_timestamp": times}, n_splits)]
    firsts = [min(times[i] for i in test) for test in tests]
    expected = [
        ([i for i, time in enumerate(times) if first - time > gap], test)
        for first, test in zip(firsts, tests, strict=True)
    ]
    if all(train for train, _ in expected):
        assert folds({"event_timestamp": times}, n_splits, embargo=embargo) == expected
    else:
        with pytest.raises(DataError, match="fold 1 has nothing to learn from"):
            folds({"event_timestamp": times}, n_splits, embargo=embargo)


@given(times=moments, n_splits=st.integers(1, 6))
def test_each_row_from_the_first_fold_on_is_tested_once(times: list[datetime], n_splits: int) -> None:
    """There are as many folds as asked for; test folds are disjoint, follow each other, and leave no row out."""
    assume(len(set(times)) > n_splits)
    tests = [test for _, test in folds({"event_timestamp": times}, n_splits)]
    assert len(tests) == n_splits
    first = min(times[i] for i in tests[0])
    assert sorted(i for test in tests for i in test) == [i for i, time in enumerate(times) if time >= first]
    for earlier, later in pairwise(tests):
        assert max(times[i] for i in earlier) < min(times[i] for i in later)


@given(times=moments, n_splits=st.integers(1, 6))
def test_rows_of_one_time_are_never_parted(times: list[datetime], n_splits: int) -> None:
    """Of two rows with one time either both are in a fold's training rows, or both tested, or neither."""
    assume(len(set(times)) > n_splits)
    for part in (part for fold in folds({"event_timestamp": times}, n_splits) for part in fold):
        inside = {times[i] for i in part}
        assert part == [i for i, time in enumerate(times) if time in inside]


@given(data=st.data(), times=moments, n_splits=st.integers(1, 6))
def test_the_order_of_the_rows_is_of_no_concern(data: st.DataObject, times: list[datetime], n_splits: int) -> None:
    """Shuffled rows are the same folds: the same rows, each fold's in the order given."""
    assume(len(set(times)) > n_splits)
    order = data.draw(st.permutations(range(len(times))))
    shuffled = folds({"event_timestamp": [times[i] for i in order]}, n_splits)
    assert all(part == sorted(part) for fold in shuffled for part in fold)
    assert [tuple(sorted(order[i] for i in part) for part in fold) for fold in shuffled] == folds(
        {"event_timestamp": times}, n_splits
    )


@given(count=st.integers(2, 60), n_splits=st.integers(1, 12))
def test_folds_are_of_nearly_equal_numbers(count: int, n_splits: int) -> None:
    """Without ties the test folds and what precedes them differ by one row at most, as in TimeSeriesSplit."""
    assume(count > n_splits)
    found = folds({"event_timestamp": [START + timedelta(hours=n) for n in range(count)]}, n_splits)
    sizes = [len(found[0][0]), *(len(test) for _, test in found)]
    assert max(sizes) - min(sizes) <= 1
    if count % (n_splits + 1) == 0 and n_splits > 1:
        theirs = TimeSeriesSplit(n_splits).split(range(count))
        assert found == [(train.tolist(), test.tolist()) for train, test in theirs]


@pytest.mark.parametrize("sizes", [[10, 1, 1], [1, 10, 1], [1, 1, 10], [1, 2, 4, 8, 16, 32], [32, 16, 8, 4, 2, 1]])
def test_ties_leave_as_many_folds_as_there_are_times(sizes: list[int]) -> None:
    """Where most rows share a time, the other times still are folds of their own."""
    times = [DAYS[day] for day, size in enumerate(sizes) for _ in range(size)]
    found = folds({"event_timestamp": times}, len(sizes) - 1)
    assert [len(test) for _, test in found] == sizes[1:]
    assert [len(train) for train, _ in found] == np.cumsum(sizes)[:-1].tolist()


def test_an_embargo_leaves_a_gap() -> None:
    """A row exactly an embargo before the first test row is left out: the next-older one is the last to learn from."""
    assert folds({"event_timestamp": DAYS}, 2, embargo="1d") == [([0], [2, 3, 4]), ([0, 1, 2, 3], [5, 6, 7])]
    assert folds({"event_timestamp": DAYS}, 2, embargo=timedelta(hours=23)) == folds({"event_timestamp": DAYS}, 2)


@pytest.mark.parametrize("embargo", ["8d", "106751991d", "106751000d", timedelta.max])
def test_an_embargo_longer_than_history_is_refused(embargo: timedelta | str) -> None:
    """No length of the gap lets future rows through, not even one that 64 bits of microseconds can't hold."""
    with pytest.raises(DataError, match=r"fold 1 has nothing to learn from.*Use fewer splits or a shorter embargo"):
        folds({"event_timestamp": DAYS}, embargo=embargo)


NAIVE = [day.replace(tzinfo=None) for day in DAYS]
FORMS: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame({"event_timestamp": DAYS, "user_id": range(8)}),
    "pandas, naive": lambda: pd.DataFrame({"event_timestamp": NAIVE}),
    "pandas, another zone": lambda: pd.DataFrame({"event_timestamp": pd.Series(DAYS).dt.tz_convert("Asia/Tokyo")}),
    "pandas, in the index": lambda: pd.DataFrame({"x": range(8)}, index=pd.Index(DAYS, name="event_timestamp")),
    "Polars": lambda: pl.DataFrame({"event_timestamp": DAYS, "user_id": range(8)}),
    "Polars, dates": lambda: pl.DataFrame({"event_timestamp": [day.date() for day in DAYS]}),
    "Arrow": lambda: pa.table({"event_timestamp": DAYS}),
    "Arrow, nanoseconds": lambda: pa.table({"event_timestamp": pa.array(NAIVE, pa.timestamp("ns"))}),
    "Arrow batch": lambda: pa.record_batch({"event_timestamp": DAYS}),
    "dict of lists": lambda: {"event_timestamp": DAYS, "user_id": list(range(8))},
    "dict of arrays": lambda: {"event_timestamp": np.array(NAIVE, "datetime64[s]")},
    "list of dicts": lambda: [{"event_timestamp": day} for day in DAYS],
    "NumPy, microseconds": lambda: np.array(NAIVE, "datetime64[us]"),
    "NumPy, days": lambda: np.array(NAIVE, "datetime64[D]"),
    "NumPy, objects": lambda: np.array(DAYS, dtype=object),
    "NumPy, dates": lambda: np.array([date(2024, 1, 1 + n) for n in range(8)], dtype=object),
    "pandas Series": lambda: pd.Series(DAYS),
    "pandas Series, named": lambda: pd.Series(DAYS, name="when", index=range(10, 18)),
    "pandas Index": lambda: pd.DatetimeIndex(DAYS),
    "Polars Series": lambda: pl.Series(DAYS),
    "Arrow array": lambda: pa.array(DAYS),
    "Arrow chunks": lambda: pa.chunked_array([DAYS[:3], DAYS[3:]]),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_times_come_in_any_form(form: str) -> None:
    """Frames, tables, mappings, and columns on their own give the same folds."""
    assert folds(FORMS[form]()) == FOLDS


def test_the_time_column_can_have_another_name() -> None:
    """`timestamp` names it; a column on its own needs none."""
    assert folds(pd.DataFrame({"when": DAYS, "event_timestamp": DAYS[::-1]}), timestamp="when") == FOLDS
    assert folds(pd.Series(DAYS), timestamp="when") == FOLDS


NULLS: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame({"event_timestamp": [*DAYS[1:], pd.NaT]}),
    "pandas Series": lambda: pd.Series([*DAYS[1:], pd.NaT]),
    "Polars": lambda: pl.DataFrame({"event_timestamp": [*DAYS[1:], None]}),
    "NumPy": lambda: np.array([*NAIVE[1:], "NaT"], "datetime64[us]"),
    "dict": lambda: {"event_timestamp": [*DAYS[1:], None]},
}


@pytest.mark.parametrize("form", list(NULLS))
def test_a_row_without_a_time_is_refused(form: str) -> None:
    """It belongs neither before nor after anything."""
    with pytest.raises(DataError, match="1 rows have no 'event_timestamp'; drop them"):
        folds(NULLS[form]())


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "no such column": (lambda: {"event_timestam": DAYS}, "no column 'event_timestamp'.*mean 'event_timestam'"),
    "numbers": (lambda: {"event_timestamp": list(range(8))}, "'event_timestamp' is int64, not a timestamp"),
    "an array of numbers": (lambda: np.arange(8), "'event_timestamp' is int64, not a timestamp"),
    "text": (lambda: pd.Series(["2024-01-01"] * 8), "not a timestamp or date. Parse it first"),
    "a matrix": (lambda: np.zeros((8, 2)), "X is a matrix without a column 'event_timestamp'"),
    "a scalar": (lambda: np.array(5), "without a column 'event_timestamp'"),
    "a list of times": (lambda: DAYS, "X is a list. Pass an Arrow table, a data frame, a mapping"),
    "hours, which Arrow lacks": (
        lambda: np.array(NAIVE, "datetime64[h]"),
        "X: column 'event_timestamp' can't be read as Arrow",
    ),
    "nothing": (lambda: None, "X is a NoneType"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_holds_no_times_is_refused(case: str) -> None:
    """The error says what X is and what to pass."""
    make, message = BAD[case]
    with pytest.raises(SchemaError, match=message):
        folds(make())


@pytest.mark.parametrize(
    ("times", "n_splits", "message"),
    [
        (DAYS[:3], 3, "3 distinct times among 3 rows are too few for 3 folds. Use fewer splits"),
        (DAYS[:2] * 20, 2, "2 distinct times among 40 rows are too few for 2 folds"),
        (DAYS[:1], 1, "1 distinct times among 1 rows are too few for 1 folds"),
        (pa.array([], pa.timestamp("us")), 1, "0 distinct times among 0 rows"),
    ],
)
def test_too_few_times_are_refused(times: Any, n_splits: int, message: str) -> None:
    """The first fold's training rows and each test fold need a time of their own."""
    with pytest.raises(DataError, match=message):
        folds({"event_timestamp": times}, n_splits)
    if len(set(times)) == n_splits > 1:
        assert len(folds({"event_timestamp": times}, n_splits - 1)) == n_splits - 1


@pytest.mark.parametrize("n_splits", [0, -1, 2.0, "3", None, True])
def test_a_number_of_folds_that_is_none_is_refused(n_splits: Any) -> None:
    """At once, not at the first split."""
    with pytest.raises(DataError, match=re.escape(f"n_splits={n_splits!r} is not a number of folds; pass 1 or more")):
        PointInTimeSplit(n_splits)


@pytest.mark.parametrize("embargo", ["a while", timedelta(days=-1), 3])
def test_an_embargo_that_is_no_duration_is_refused(embargo: Any) -> None:
    """At once, and by its name."""
    with pytest.raises(DefinitionError, match="embargo"):
        PointInTimeSplit(embargo=embargo)


def test_it_is_one_of_scikit_learns_splitters() -> None:
    """It shows its folds and its settings, takes NumPy's numbers, and is copied and pickled with its settings."""
    splitter = PointInTimeSplit(3, timestamp="when", embargo="2d")
    assert repr(splitter) == "PointInTimeSplit(embargo='2d', n_splits=3, timestamp='when')"
    assert splitter.get_n_splits() == splitter.get_n_splits(object(), object(), object()) == 3
    assert check_cv(splitter) is splitter
    for copy in (clone(splitter, safe=False), pickle.loads(pickle.dumps(splitter))):
        assert vars(copy) == vars(splitter)
    assert PointInTimeSplit().get_n_splits() == 5
    assert PointInTimeSplit(np.int64(3)).get_n_splits() == 3


@pytest.mark.parametrize("embargo", ["1d", timedelta(days=1)])
def test_skops_takes_it_with_the_types_we_list(embargo: timedelta | str) -> None:
    """A saved search holds the folds it was made with."""
    search = GridSearchCV(DummyClassifier(), {"strategy": ["prior"]}, cv=PointInTimeSplit(3, embargo=embargo))
    loaded = skops.io.loads(skops.io.dumps(search), trusted=SKOPS_TRUSTED_TYPES)
    assert vars(loaded.cv) == vars(search.cv)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_model_is_cross_validated_on_what_comes_later(frame: Callable[[Any], Any]) -> None:
    """With `cv=` a pipeline learns each fold from the past: a law that holds from the middle on is unknown before."""
    times = [START + timedelta(hours=n) for n in range(80)]
    x = [n * 7 % 10 / 10 for n in range(80)]
    y = np.array([value > 0.5 if n < 40 else value < 0.5 for n, value in enumerate(x)])
    X = frame({"x": x, "event_timestamp": times})
    model = make_pipeline(make_column_transformer(("passthrough", ["x"])), LogisticRegression(C=1e3))
    scores = cross_val_score(model, X, y, cv=PointInTimeSplit(3))
    assert scores[0] > 0.9  # learns rows 0-19, is tested on 20-39: the same law
    assert scores[1] < 0.3  # learns rows 0-39, is tested on 40-59: the opposite law, which it can't know
    with pytest.raises(ValueError, match="only works for partitions"):
        cross_val_predict(model, X, y, cv=PointInTimeSplit(3))


def test_the_docstrings_example_runs() -> None:
    """It prints what it says."""
    results = doctest.testmod(fs_sklearn.split)
    assert results.attempted > 0
    assert results.failed == 0
