"""Profiles add up: whatever the parts, the sum is the profile of the whole, bit for bit."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import DataError, DefinitionError
from fs_core.monitoring.profiles.build import profile_rows
from fs_core.monitoring.profiles.column import ColumnSummary, summarize
from fs_core.monitoring.profiles.distinct import CAP, Distinct
from fs_core.monitoring.profiles.histogram import buckets, edges
from fs_core.monitoring.profiles.profile import Profile
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema

T0 = datetime(2024, 1, 1, tzinfo=UTC)
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "float64": (pa.float64(), st.floats()),
    "float32": (pa.float32(), st.floats(width=32)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "bool": (pa.bool_(), st.booleans()),
    "decimal": (pa.decimal128(9, 3), st.decimals(-(10**5), 10**5, places=3, allow_nan=False)),
    "string": (pa.string(), st.text(max_size=3)),
    "binary": (pa.binary(), st.binary(max_size=3)),
    "date": (pa.date32(), st.dates()),
    "timestamp": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(UTC))),
    "list": (pa.list_(pa.int64()), st.lists(st.integers(0, 3), max_size=2)),
}


@st.composite
def parted(draw: st.DrawFn) -> list[pa.Array]:
    """A column in parts, some of them empty."""
    dtype, values = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    parts = draw(st.lists(st.lists(st.none() | values, max_size=5), min_size=1, max_size=3))
    return [pa.array(part, dtype) for part in parts]


@settings(max_examples=40)
@given(parted(), st.randoms())
def test_summaries_of_any_parts_add_up_to_that_of_the_whole(parts: list[pa.Array], random: Any) -> None:
    """Whatever the type, the parts and the order in which they are added."""
    whole = summarize(pa.chunked_array(parts))
    random.shuffle(parts)
    assert reduce(ColumnSummary.__add__, map(summarize, parts)) == whole


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=30))
def test_sums_are_exact(values: list[float]) -> None:
    """The sum and the sum of squares are those of fractions, for numbers of any size."""
    found = summarize(pa.array(values, pa.float64()))
    assert found.total == sum(map(Fraction, values))
    assert found.squares == sum(Fraction(v) ** 2 for v in values)


def test_sums_of_decimals_and_whole_numbers_are_exact() -> None:
    """Whole numbers beyond a float's, and decimals in their own unit."""
    assert summarize(pa.array([2**53 + 1, 1])).total == 2**53 + 2
    money = summarize(pa.array([Decimal("0.10"), Decimal("0.20")], pa.decimal128(5, 2)))
    assert (money.total, money.squares) == (Fraction(3, 10), Fraction(5, 100))
    assert money.std == pytest.approx(math.sqrt(0.005))


@given(st.floats(allow_nan=False))
def test_a_number_lies_in_its_bucket(value: float) -> None:
    """Between its edges, of which the one nearer to zero belongs to it; at most 3.2 % apart."""
    (bucket,) = buckets(np.array([value])).tolist()
    low, high = edges(bucket)
    assert low <= value <= high or math.isinf(value)
    if 1e-300 < abs(value) < 1e300:
        assert high - low <= abs(value) / 31


def test_whole_numbers_up_to_64_have_buckets_of_their_own() -> None:
    """So a histogram of counts is exact."""
    assert len(set(buckets(np.arange(-64.0, 65)).tolist())) == 129


def test_what_is_no_number_is_counted_apart() -> None:
    """Nulls, NaN and infinities leave the mean alone."""
    found = summarize(pa.array([1.0, 3.0, None, math.nan, math.inf]))
    assert (found.rows, found.nulls, found.nans, found.infinite) == (5, 1, 1, 1)
    assert (found.mean, found.std, found.null_rate, found.greatest) == (2.0, math.sqrt(2), 0.2, math.inf)


@given(st.lists(st.integers(0, 30), max_size=60))
def test_few_distinct_values_are_counted_exactly(values: list[int]) -> None:
    """The most frequent first."""
    found = Distinct.of(pa.array(values, pa.int64()))
    top = found.top(100)
    assert top == {value: values.count(value) for value in values}
    assert list(top.values()) == sorted(top.values(), reverse=True)
    assert found.estimate == len(set(values))


@pytest.mark.parametrize("kind", ["int64", "string"])
def test_many_distinct_values_are_estimated(kind: str) -> None:
    """Within 10 %, and no value claims to be the most frequent."""
    values = pa.array(range(20_000), pa.int64()).cast(kind)
    halves = Distinct.of(values.slice(0, 12_000)) + Distinct.of(values.slice(8_000))
    assert halves.kept.keys() == Distinct.of(values).kept.keys()
    assert len(halves.kept) == CAP
    assert 18_000 < halves.estimate < 22_000
    assert halves.top(3) is None


USER = Entity("user", keys={"user": "int64"}, description="A customer.")
SPENT = FeatureView(
    "spent",
    entity=USER,
    available_at="loaded",
    fields=[Field("amount", "float64", "EUR."), Field("shop", "string", "Where.")],
    description="What was spent.",
)


def rows(users: list[int]) -> pa.Table:
    """One row of each user a day for three days, known 20 hours later."""
    times = [T0 + timedelta(days=day, hours=user % 24) for day in range(3) for user in users]
    return pa.table(
        {
            "user": users * 3,
            "event_timestamp": times,
            "loaded": [time + timedelta(hours=20) for time in times],
            "amount": [0.1 * user for user in users] * 3,
            "shop": [f"shop {user % 3}" for user in users] * 3,
        }
    )


MICROS = st.integers(0, 3 * 86_400 * 10**6)


@settings(max_examples=30)
@given(st.lists(st.tuples(MICROS, MICROS, st.none() | st.floats(), st.integers(0, 3)), min_size=1, max_size=25))
def test_profiles_of_any_parts_of_the_rows_add_up(drawn: list[tuple[int, int, float | None, int]]) -> None:
    """Days, clocks, delays and values, whichever rows went into which part."""
    schema = history_schema(SPENT)
    columns = {
        "user": [0] * len(drawn),
        EVENT_TIME: [event for event, _, _, _ in drawn],
        AVAILABLE_AT: [event + delay for event, delay, _, _ in drawn],
        SEQ: list(range(len(drawn))),
        "amount": [amount for _, _, amount, _ in drawn],
        "shop": [f"shop {part}" for _, _, _, part in drawn],
    }
    table = pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names}, schema=schema)
    masks = [pa.array([row[3] == part for row in drawn]) for part in range(4)]
    whole = profile_rows(SPENT, table)
    assert reduce(Profile.__add__, [profile_rows(SPENT, table.filter(mask)) for mask in masks]) == whole
    assert whole.total is not None
    assert whole.total.rows == len(drawn)


@pytest.fixture
def spent(store: FeatureStore) -> FeatureStore:
    """A store with a view of ten users."""
    store.apply(USER, SPENT)
    store.write("spent", rows(list(range(10))))
    return store


def test_a_view_is_profiled_by_the_day_its_rows_became_available(spent: FeatureStore) -> None:
    """With both clocks and the delay between them; the days add up."""
    found = spent.profile("spent")
    assert [day.isoformat() for day in found.days] == ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]
    assert found.total is not None
    assert found.total.rows == 30
    assert found.total.delay is not None
    assert found.total.delay.mean == 20 * 3600 * 10**6
    assert found.total.columns["shop"].top(1) == {"shop 0": 12}
    assert found.table.num_rows == 8
    assert "spent:v1.0.0: 30 rows on 4 days" in str(found)


def test_profiles_of_parts_of_a_history_add_up(spent: FeatureStore, tmp_path: Any) -> None:
    """Two stores that hold half of the rows each make the profile of the one that holds them all."""
    halves = []
    for name, users in (("one", [1, 3, 5, 7, 9]), ("other", [0, 2, 4, 6, 8])):
        with FeatureStore(tmp_path / name) as half:
            half.apply(USER, SPENT)
            half.write("spent", rows(users))
            halves.append(half.profile("spent"))
    assert halves[0] + halves[1] == spent.profile("spent")


def test_a_profile_after_forget_never_held_the_person(spent: FeatureStore, tmp_path: Any) -> None:
    """It is made from history, and equals that of a store to which the person never came."""
    spent.forget("user", {"user": [9]})
    with FeatureStore(tmp_path / "without") as without:
        without.apply(USER, SPENT)
        without.write("spent", rows(list(range(9))))
        assert spent.profile("spent") == without.profile("spent")


def test_since_leaves_out_what_became_available_earlier(spent: FeatureStore) -> None:
    """A moment, or how long ago."""
    assert [day.day for day in spent.profile("spent", since="2024-01-03T00:00:00Z").days] == [3, 4]
    assert spent.profile("spent", since="1d").total is None
    assert str(spent.profile("spent", since="1d")) == "spent:v1.0.0: no rows"


def test_a_training_set_is_profiled_by_its_times(spent: FeatureStore) -> None:
    """Its features as they are, nulls of missing rows included."""
    spine = {"user": [1, 2, 99, 3], "event_timestamp": [T0 + timedelta(days=2)] * 3 + [T0 + timedelta(days=3)]}
    found = spent.profile(spent.get_historical_features(spine, "spent"))
    assert list(found.days) == [date(2024, 1, 3), date(2024, 1, 4)]
    assert found.total is not None
    assert found.total.columns["amount"].nulls == 1
    assert found.total.available is None


def test_profiles_of_different_things_dont_add_up(spent: FeatureStore) -> None:
    """The error names both."""
    spine = {"user": [1], "event_timestamp": [T0 + timedelta(days=2)]}
    with pytest.raises(DataError, match=r"spent:v1.0.0 .*training set"):
        _ = spent.profile("spent") + spent.profile(spent.get_historical_features(spine, "spent"))
    with pytest.raises(DataError, match="since"):
        spent.profile("spent", since="soon")


def test_what_is_no_view_has_no_profile(store: FeatureStore) -> None:
    """A table isn't printed, and a feature isn't taken for its view."""
    frame = pa.table({"x": range(1000)}).to_pandas()
    with pytest.raises(DataError, match=r"not of DataFrame. Pass a view's name"):
        store.profile(frame)
    with pytest.raises(DefinitionError, match=r"^a DataFrame is no reference"):
        store.view(frame)
    user = Entity("user", keys={"user": "int64"}, description="A user.")
    store.apply(FeatureView("visits", entity=user, fields=[Field("minutes", "int64", "M.")], description="V."))
    with pytest.raises(DefinitionError, match=r"names a feature.*Pass 'visits'"):
        store.profile("visits.minutes")
    with pytest.raises(DefinitionError, match=r"names a feature.*Pass 'visits'"):
        store.profile("visits.minutes:v1.0.0")
