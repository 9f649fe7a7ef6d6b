"""Checking rows before they are written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import FeatureStore
from fs_core.definitions import Entity, FeatureView, Field
from fs_core.errors import DataError, SchemaError, ValidationError
from fs_core.offline.validation.rows import validate_rows, with_sequence
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, history_schema
from fs_core.testing import oracle_available_at
from fs_core.testing.histories import moments, scenarios, values
from fs_core.testing.offline_suite import assert_rows, history_types

VIEW = FeatureView(
    "orders",
    entity=Entity("user", keys={"user_id": "int64", "shop": "string"}),
    fields=[Field("amount", "float32", minimum=0), Field("items", "int16", nullable=False)],
    available_at="landed_at",
    lag="10us",
)


def rows(**changes: Any) -> pa.Table:
    """Three good rows of `VIEW`, with some columns changed, or dropped by None."""
    columns: dict[str, Any] = {
        "user_id": [1, 2, 3],
        "shop": ["a", "b", "c"],
        "event_timestamp": moments([0, 100, 200]),
        "landed_at": moments([5, 110, 290]),
        "amount": [1.5, None, 0.0],
        "items": [1, 2, 3],
    } | changes
    return pa.table({name: column for name, column in columns.items() if column is not None})


def of(dtype: str, **rules: Any) -> FeatureView:
    """A view with one field `x`."""
    return FeatureView("v", entity=Entity("e", keys={"k": "int64"}), fields=[Field("x", dtype, **rules)])


def one(column: Any, **others: Any) -> pa.Table:
    """Rows of such a view."""
    count = len(column)
    return pa.table({"k": range(count), "event_timestamp": moments([0] * count), "x": column, **others})


def test_good_rows_get_the_schema_of_history() -> None:
    """Rows that fit come out in the schema of history, in their order, with the effective availability."""
    checked = validate_rows(VIEW, rows())
    assert checked.schema.names == [name for name in history_schema(VIEW).names if name != SEQ]
    assert checked[AVAILABLE_AT].cast(pa.int64()).to_pylist() == [10, 110, 290]
    numbered = with_sequence(VIEW, checked, 40)
    assert numbered.schema.equals(history_schema(VIEW))
    assert numbered[SEQ].to_pylist() == [40, 41, 42]


def test_a_push_is_available_when_it_is_pushed() -> None:
    """The moment of the push is the availability; the view's own column is ignored and may be absent."""
    for data in (rows(), rows(landed_at=None), rows(landed_at=["not", "a", "time"])):
        checked = validate_rows(VIEW, data, pushed_at=150)
        assert checked[AVAILABLE_AT].cast(pa.int64()).to_pylist() == [150, 150, 210]


@settings(max_examples=60)
@given(scenario=scenarios(), delays=st.lists(st.integers(-5, 30), min_size=24, max_size=24), push=st.booleans())
def test_any_history_passes_unchanged(scenario: Any, delays: list[int], push: bool) -> None:
    """Rows in the declared types pass with their bits, and `a` is the oracle's."""
    view = replace(scenario.view, available_at="known")
    events = scenario.history[EVENT_TIME].cast(pa.int64()).to_pylist()
    first, tick = scenario.scale.micros(0), scenario.scale.micros(1) - scenario.scale.micros(0)
    known = [max(t + d * tick, first) for t, d in zip(events, delays, strict=False)]
    data = scenario.history.select([*view.keys, *view.features])
    data = data.append_column("event_timestamp", moments(events)).append_column("known", moments(known))
    pushed_at = scenario.scale.micros(3) if push else None
    found = with_sequence(view, validate_rows(view, data, pushed_at=pushed_at), 0)
    expected = []
    for number, (row, event, seen) in enumerate(zip(data.to_pylist(), events, known, strict=True)):
        available = oracle_available_at(view, event, pushed_at if pushed_at is not None else seen)
        times = {EVENT_TIME: _moment(event), AVAILABLE_AT: _moment(available), SEQ: number}
        expected.append({**row, **times})
    assert_rows(found, expected, history_types(view))


def _moment(micros: int) -> datetime:
    moment: datetime = moments([micros])[0].as_py()
    return moment


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"amount": None}, r"missing column 'amount'"),
        ({"amount": None, "amout": [1.0, 2.0, 3.0]}, r"missing column 'amount'\. Did you mean 'amout'\?"),
        ({"user_id": None, "shop": None}, r"missing column 'user_id', 'shop'"),
        ({"event_timestamp": None}, r"missing column 'event_timestamp'"),
        (
            {"landed_at": None},
            r"missing column 'landed_at'\. The rows have 'user_id', .*'amount'.*\.$",
        ),  # all are needed
        ({"itemz": [1, 2, 3]}, r"unexpected column 'itemz'.*Drop it, or declare.*Did you mean 'items'"),
    ],
)
def test_columns_must_be_the_declared_ones(changes: dict[str, Any], says: str) -> None:
    """A missing or unexpected column is named, with what may have been meant."""
    with pytest.raises(SchemaError, match=rf"view 'orders': {says}"):
        validate_rows(VIEW, rows(**changes))


def test_all_misfits_are_reported_at_once() -> None:
    """Every column of a wrong type is named in one error, with its type, the declared one, and the row."""
    bad = rows(user_id=["1", "2", "3"], amount=[True, False, None], items=[1, 2, 70_000], landed_at=[1, 2, 3])
    with pytest.raises(SchemaError) as caught:
        validate_rows(VIEW, bad)
    message = str(caught.value)
    assert "column 'user_id' is string, declared as int64" in message
    assert "column 'amount' is bool, declared as float" in message
    assert "column 'items' can't become int16 without loss: row 2 holds 70000" in message
    assert "column 'landed_at' is int64, not a timestamp" in message
    assert message.endswith("Nothing was written.")


def test_all_wrong_values_are_reported_at_once() -> None:
    """Null keys, null times, forbidden nulls and values out of range are in one error, with their rows."""
    bad = rows(
        user_id=[None, 2, None],
        event_timestamp=moments([0, None, 1]),
        amount=[-1.0, 2.0, -0.5],
        items=[1, None, 2],
    )
    with pytest.raises(ValidationError) as caught:
        validate_rows(VIEW, bad)
    assert str(caught.value) == (
        "view 'orders': column 'user_id' is null in row 0, 2; column 'event_timestamp' is null in row 1; "
        "column 'amount' is below the minimum 0 in row 0 (-1.0), 2 (-0.5); "
        "column 'items' is null in row 1, and not nullable. Nothing was written."
    )


def test_many_wrong_rows_are_counted() -> None:
    """The first few rows are named, the others counted."""
    with pytest.raises(ValidationError, match=r"in row 0 \(11\), 1 \(12\), 2 \(13\), 3 \(14\), 4 \(15\) and 85 more"):
        validate_rows(of("int64", maximum=10), one(range(11, 101)))


def test_a_null_availability_is_refused() -> None:
    """A row whose availability is unknown is refused."""
    with pytest.raises(ValidationError, match="column 'landed_at' is null in row 1"):
        validate_rows(VIEW, rows(landed_at=moments([1, None, 2])))


def test_columns_of_nulls_have_no_type_to_be_wrong() -> None:
    """A feature that is null throughout fits; a time or key that is null throughout is refused as null."""
    assert validate_rows(VIEW, rows(amount=pa.nulls(3)))["amount"].null_count == 3
    with pytest.raises(ValidationError, match=r"'shop' is null in row 0, 1, 2; column 'event_timestamp' is null"):
        validate_rows(VIEW, rows(shop=pa.nulls(3), event_timestamp=pa.nulls(3)))


def test_nothing_is_written_when_a_row_is_wrong(store: FeatureStore) -> None:
    """One wrong row keeps the whole write out of history."""
    entity = Entity("e", keys={"k": "int64"}, description="An entity.")
    store.apply(FeatureView("v", entity, [Field("x", "int64", "A number.", maximum=3)], description="A view."))
    with pytest.raises(ValidationError):
        store.write("v", one([1, 2, 4]))
    assert store.history("v").num_rows == 0


@pytest.mark.parametrize(
    ("dtype", "rules", "good", "bad"),
    [
        ("float32", {"maximum": 0.1}, [0.1, -float("inf")], [0.11, float("inf"), float("nan")]),
        ("float32", {"minimum": 0.1}, [0.1, float("inf")], [0.09, float("nan")]),
        ("float64", {"minimum": -1, "maximum": 1}, [-1.0, 1.0, -0.0], [1.0000000000000002, float("nan")]),
        ("float16", {"minimum": 0, "maximum": 1e9}, [0.0, 65504.0], [-0.5]),
        ("float32", {"maximum": 1e300}, [3e38, float("inf")], [float("nan")]),
        ("int64", {"minimum": 2**53 + 1}, [2**53 + 1, 2**63 - 1], [2**53, -(2**63)]),
        ("int64", {"maximum": float(2**53)}, [2**53], [2**53 + 1]),
        ("int8", {"minimum": 0.5, "maximum": 2.5}, [1, 2], [0, 3]),
        ("int64", {"maximum": float("inf"), "minimum": -float("inf")}, [2**63 - 1, -(2**63)], []),
        ("int64", {"minimum": 10**30}, [], [2**63 - 1]),
        ("uint64", {"minimum": 0, "maximum": 2**64 - 2}, [0, 2**64 - 2], [2**64 - 1]),
        ("int16", {"minimum": 3, "maximum": 3}, [3], [2, 4]),
        ("decimal(5, 2)", {"minimum": 0.1}, [Decimal("0.10")], [Decimal("0.09")]),
        ("decimal(5, 2)", {"minimum": 1000}, [], [Decimal("999.99")]),
        ("decimal(38, 38)", {"maximum": 0.5}, [Decimal("0.5")], [Decimal("0." + "5" * 38)]),
    ],
)
def test_ranges_are_exact(dtype: str, rules: dict[str, float], good: list[Any], bad: list[Any]) -> None:
    """Declared bounds include themselves, are exact for every type, allow nulls, and never NaN."""
    view = of(dtype, **rules)
    kind = view.features["x"]
    assert validate_rows(view, one(pa.array([*good, None], kind)))["x"].null_count == 1
    for value in bad:
        with pytest.raises(ValidationError, match=r"column 'x' is .* in row 0"):
            validate_rows(view, one(pa.array([value], kind)))


@settings(max_examples=100)
@given(data=st.data())
def test_ranges_of_whole_numbers_are_pythons(data: st.DataObject) -> None:
    """For whole numbers and any bounds, the verdict is Python's own comparison, which is exact."""
    dtype = data.draw(st.sampled_from(["int8", "int64", "uint64", "uint8"]))
    bound = st.integers(-(2**65), 2**65) | st.floats(-1e20, 1e20) | st.integers(-300, 300)
    low, high = sorted(data.draw(st.tuples(bound, bound)))
    view = of(dtype, minimum=low, maximum=high)
    value = data.draw(values(view.features["x"]))
    table = one(pa.array([value], view.features["x"]))
    if low <= value <= high:
        validate_rows(view, table)
    else:
        with pytest.raises(ValidationError):
            validate_rows(view, table)


@pytest.mark.parametrize(
    ("dtype", "allowed", "bad"),
    [("string", ["M", "F"], "m"), ("int64", [2**63 - 1, -1], 2**63 - 2), ("uint64", [2**64 - 1], 0)],
)
def test_only_allowed_values_are_written(dtype: str, allowed: list[Any], bad: Any) -> None:
    """Allowed values and nulls pass; another is named with its row, in every layout text may have."""
    view = of(dtype, allowed=allowed)
    kind = view.features["x"]
    good = pa.array([*allowed, None], kind)
    assert validate_rows(view, one(good))["x"].null_count == 1
    assert validate_rows(view, one(good.dictionary_encode()))["x"].null_count == 1
    message = rf"column 'x' is none of {', '.join(map(repr, sorted(allowed)))} in row 1 \({bad!r}\)"
    with pytest.raises(ValidationError, match=message):
        validate_rows(view, one(pa.array([allowed[0], bad], kind)))


def test_a_value_that_is_not_allowed_keeps_all_rows_out(store: FeatureStore) -> None:
    """Written or pushed, nothing of a batch is kept; the order of the list is no part of the meaning."""
    entity = Entity("e", keys={"k": "int64"}, description="An entity.")
    field = Field("x", "string", "Sex.", allowed=["M", "F"])
    view = FeatureView("v", entity, [field], description="A view.")
    store.apply(view)
    batch = one(pa.array(["M", "X"]))
    for call in (store.write, store.push):
        with pytest.raises(ValidationError, match="'x' is none of 'F', 'M' in row 1"):
            call("v", batch)
    assert store.history("v").num_rows == 0
    assert store.view("v").fields[0].allowed == ("F", "M")
    turned = FeatureView("v", entity, [Field("x", "string", "Sex.", allowed=["F", "M", "M"])], description="A view.")
    assert turned.digest == view.digest
    assert FeatureView("v", entity, [Field("x", "string", "Sex.")], description="A view.").digest != view.digest


def test_a_naive_nan_without_bounds_is_a_value() -> None:
    """NaN is a float like any other where no range is declared."""
    assert str(validate_rows(of("float64"), one([float("nan")]))["x"][0]) == "nan"


@pytest.mark.parametrize(
    ("dtype", "column", "row"),
    [
        ("date", pa.array([0, 2_932_897], pa.int32()).cast(pa.date32()), 1),
        ("timestamp", moments([2**62, 0]), 0),
        ("timestamp[s]", pa.array([0, -62_135_596_801]).cast(pa.timestamp("s")), 1),
        (
            "list<date>",
            pa.array([[0, 1], None, [2, -(2**31) + 1]], pa.list_(pa.int32())).cast(pa.list_(pa.date32())),
            2,
        ),
    ],
)
def test_dates_beyond_the_calendar_are_refused(dtype: str, column: pa.Array, row: int) -> None:
    """Dates and times that Python has no year for are refused, in lists too."""
    with pytest.raises(ValidationError, match=rf"column 'x' is outside the years 1 to 9999 in row {row}\."):
        validate_rows(of(dtype), one(column))


def test_the_ends_of_the_calendar_are_inside() -> None:
    """The first and the last day are values."""
    days = [date(1, 1, 1), date(9999, 12, 31), None]
    assert validate_rows(of("date"), one(pa.array(days)))["x"].to_pylist() == days
    assert validate_rows(of("list<date>[1]"), one(pa.array([[d] for d in days])))["x"].to_pylist()[1] == [days[1]]


def test_event_times_stay_within_the_calendar() -> None:
    """An event time outside the years 1 to 9999, or led out of them by the lag, is refused."""
    late = datetime(9999, 12, 31, 23, 59, 59, 999_995, tzinfo=UTC)
    with pytest.raises(DataError, match=r"view 'orders': .*outside the years"):
        validate_rows(VIEW, rows(event_timestamp=pa.array([0, 1, 2**55], pa.timestamp("s"))))
    with pytest.raises(DataError, match=r"plus the lag leaves the year 9999 in row 1\. Nothing was written"):
        validate_rows(VIEW, rows(event_timestamp=pa.array([late.replace(year=2000), late, late.replace(year=1)])))
    forever = replace(VIEW, lag=datetime.max - datetime.min)
    with pytest.raises(DataError, match="plus the lag leaves"):
        validate_rows(forever, rows())


@pytest.mark.parametrize(
    ("kind", "counts", "micros"),
    [("ns", [1, 999, 1000, -1, -1001], [1, 1, 1, 0, -1]), ("ms", [1, -1], [1000, -1000]), ("s", [1], [10**6])],
)
def test_event_times_round_up(kind: str, counts: list[int], micros: list[int]) -> None:
    """Event times finer than a microsecond become the next one, on both sides of 1970."""
    data = one([0] * len(counts)).set_column(1, "event_timestamp", pa.array(counts, pa.timestamp(kind)))
    assert validate_rows(of("int64"), data)[EVENT_TIME].cast(pa.int64()).to_pylist() == micros


def test_layouts_are_no_types() -> None:
    """Dictionaries, views and large strings are strings; a zoned time is a time."""
    shops = pa.array(["a", "b", "c"])
    zoned = pa.array([0, 1, 2], pa.timestamp("ms", tz="Asia/Tokyo"))
    for layout in (shops.dictionary_encode(), shops.cast(pa.large_string()), shops.cast(pa.string_view())):
        checked = validate_rows(VIEW, rows(shop=layout, event_timestamp=zoned))
        assert checked["shop"].type == pa.string()
        assert checked[EVENT_TIME].cast(pa.int64()).to_pylist() == [0, 1000, 2000]


@pytest.mark.parametrize(
    ("dtype", "column"),
    [
        ("float32", pa.array([1e300])),
        ("float16", pa.array([70000.0])),
        ("list<float32>", pa.array([[1e300]])),
        ("decimal(5, 1)", pa.array([1.25])),
        ("list<float32>[2]", pa.array([[1.0, 2.0, 3.0]])),
        ("list<float32>[2]", pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float32(), 3))),
        ("timestamp", pa.array([1], pa.timestamp("ns"))),
        ("timestamp", pa.array([2**62], pa.timestamp("s"))),
    ],
)
def test_values_that_would_change_are_refused(dtype: str, column: pa.Array) -> None:
    """No cast overflows to infinity, drops digits, or cuts a list."""
    with pytest.raises(SchemaError, match=r"column 'x' can't become .* without loss: row 0 holds"):
        validate_rows(of(dtype), one(column))


def test_whole_numbers_fit_decimals() -> None:
    """A whole number is exact in a decimal that has the room, in lists and from DuckDB's wide sums too."""
    assert validate_rows(of("decimal(5, 2)"), one([5]))["x"].to_pylist() == [Decimal("5.00")]
    assert validate_rows(of("list<decimal(5, 2)>"), one([[5]]))["x"].to_pylist() == [[Decimal("5.00")]]
    assert validate_rows(of("int64"), one(pa.array([Decimal(7)], pa.decimal128(38, 0))))["x"].to_pylist() == [7]


def test_no_rows_are_good_rows() -> None:
    """An empty table with the right columns passes, however its columns are chunked."""
    assert validate_rows(VIEW, rows().slice(0, 0)).num_rows == 0
    empty = pa.table({name: pa.chunked_array([], rows()[name].type) for name in rows().column_names})
    assert validate_rows(VIEW, empty).num_rows == 0
    listed = of("list<date>")
    assert validate_rows(listed, one(pa.array([], pa.list_(pa.date32())))).num_rows == 0
