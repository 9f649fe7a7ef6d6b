"""Aggregations and the views they make: names, types, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import dataclasses
import json
import pickle
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from fs_core import SQL, Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.definitions import from_dict
from fs_core.definitions.yaml.reading import read
from fs_core.definitions.yaml.writing import write
from fs_core.errors import DefinitionError, ValidationError
from fs_core.registry.changes import required_bump
from fs_core.rule import history_schema
from fs_core.testing.histories import SCALARS
from fs_core.values import dtypes

user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
FIELDS = [
    Field("order_id", "string", "The order."),
    Field("amount", "float64", "Paid, EUR."),
    Field("shop", "string", "Where."),
    Field("items", "list<string>", "What."),
]
AGGREGATIONS = [
    Aggregation("count", windows=["1h", "7d"]),
    Aggregation("sum", "amount", windows=["7d", "30d"], where="amount > 0"),
    Aggregation("mean", "amount", windows=["30d"], closed="left"),
    Aggregation("last", "shop", n=5, windows=[None]),
    Aggregation("count_distinct", "shop", windows=["30d"], name="shops", hop="1h"),
]


def purchases(**changes: Any) -> FeatureView:
    """The contract's view of events, but for what is given."""
    given = {
        "entity": user,
        "description": "What a user buys.",
        "source": SQL("SELECT user_id, order_id, paid_at AS event_timestamp, amount, shop, items FROM orders"),
        "fields": FIELDS,
        "event_id": ["order_id"],
        "aggregations": AGGREGATIONS,
    }
    return FeatureView("purchases", **{**given, **changes})


def one(*arguments: Any, **options: Any) -> Aggregation:
    """An aggregation over seven days."""
    return Aggregation(*arguments, **{"windows": ["7d"], **options})


def test_each_window_is_a_feature() -> None:
    """A feature is called what it computes, then its window; all time adds nothing; types follow the functions."""
    assert dict(purchases().features) == {
        "count_1h": pa.int64(),
        "count_7d": pa.int64(),
        "amount_sum_7d": pa.float64(),
        "amount_sum_30d": pa.float64(),
        "amount_mean_30d": pa.float64(),
        "shop_last_5": pa.list_(pa.string()),
        "shops_30d": pa.int64(),
    }


def test_history_keeps_the_events() -> None:
    """What is stored are the events' columns, not the aggregates; without aggregations the two are one."""
    view = purchases()
    assert list(view.stored) == ["order_id", "amount", "shop", "items"]
    assert history_schema(view).names == ["user_id", "__event_time", "__available_at", "__seq", *view.stored]
    plain = purchases(event_id=(), aggregations=())
    assert plain.features == plain.stored
    assert plain.outputs == plain.fields


def test_windows_keep_the_words_they_were_written_in() -> None:
    """24h is called 24h, though it is one day; a timedelta gets its shortest text."""
    made = one("count", windows=["24h", timedelta(days=2), " 1w ", None])
    assert made.columns == ("count_24h", "count_2d", "count_1w", "count")
    day = 86_400_000_000
    assert made.window_micros == (day, 2 * day, 7 * day, None)


@pytest.mark.parametrize(
    ("aggregation", "message"),
    [
        (lambda: one("cuont"), "aggregation: there is no function 'cuont'. Did you mean 'count'"),
        (lambda: one(None), "aggregation: there is no function None"),
        (lambda: one("sum"), "aggregation 'sum' needs a column"),
        (lambda: one("sum", 3), "aggregation 'sum': column name 3 is not usable"),
        (lambda: one("sum", "x", n=3), "aggregation 'sum' of 'x' takes no n; only first and last do"),
        (lambda: one("last", "x", n=0), "aggregation 'last' of 'x': n is 0; pass a whole number of 1 or more"),
        (lambda: one("last", "x", n=True), "aggregation 'last' of 'x': n is True"),
        (lambda: one("count", windows=[]), "aggregation 'count': windows is []; pass a list"),
        (lambda: one("count", windows="7d"), "aggregation 'count': windows is '7d'; pass a list"),
        (lambda: one("count", windows=None), "aggregation 'count': windows is None; pass a list"),
        (lambda: one("count", windows=["0s"]), "aggregation 'count': a window of '0s' holds nothing"),
        (lambda: one("count", windows=["-1d"]), "aggregation 'count': window '-1d' is not a duration"),
        (lambda: one("count", windows=[timedelta(-1)]), "aggregation 'count': window is negative"),
        (lambda: one("count", windows=["soon"]), "aggregation 'count': window 'soon' is not a duration"),
        (lambda: one("count", windows=["1d", "24h"]), "aggregation 'count': '1d' and '24h' are one window"),
        (lambda: one("count", where=""), "aggregation 'count': where is ''; write SQL"),
        (lambda: one("count", where=3), "aggregation 'count': where is 3; write SQL"),
        (lambda: one("count", closed="both"), "aggregation 'count': closed is 'both'; say 'right' or 'left'"),
        (lambda: one("count", hop="0s"), "aggregation 'count': hop='0s' changes nothing"),
        (lambda: one("count", hop="1h", windows=[None]), "aggregation 'count': hop='1h' changes nothing"),
        (lambda: one("count", hop="often"), "aggregation 'count': hop 'often' is not a duration"),
        (lambda: one("count", name="7"), "aggregation 'count' name '7' is not usable"),
        (lambda: one("count", name="x" * 62), "aggregation 'count' name 'xxx"),
    ],
)
def test_aggregations_that_are_refused(aggregation: Any, message: str) -> None:
    """What means nothing is refused at once, with the way out."""
    with pytest.raises(DefinitionError) as caught:
        aggregation()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregations": [one("sum", "amuont")]}, "view 'purchases': aggregation 'amuont_sum' reads 'amuont', which"),
        ({"aggregations": [one("sum", "shop")]}, "view 'purchases': aggregation 'shop_sum': 'shop' is string, of"),
        ({"aggregations": [one("max", "shop")]}, "view 'purchases': aggregation 'shop_max': 'shop' is string"),
        ({"aggregations": [one("count_distinct", "items")]}, "view 'purchases': aggregation 'items_count_distinct'"),
        ({"aggregations": [one("last", "items", n=2)]}, "view 'purchases': aggregation 'items_last_2': 'items' is"),
        ({"aggregations": [one("count"), one("count")]}, "view 'purchases': aggregations: 'count_7d' and 'count_7d'"),
        ({"aggregations": [one("last", "shop", name="amount", windows=[None])]}, "view 'purchases': aggregations: 'am"),
        ({"aggregations": [one("count", name="user", windows=[None, "1d"])], "entity": Entity("u", {"User": "int64"})},
         "view 'purchases': aggregations: 'User' and 'user' are one name"),
        ({"aggregations": ["count"]}, "view 'purchases': aggregations is ['count']; pass a list of Aggregation"),
        ({"aggregations": one("count")}, "view 'purchases': aggregations is Aggregation("),
        ({"aggregations": ()}, "view 'purchases': event_id is for views with aggregations"),
        ({"event_id": ["order"]}, "view 'purchases': event_id 'order' is no field. Did you mean 'order_id'"),
        ({"event_id": ["amount"]}, "view 'purchases': event_id 'amount' is double, whose equality is not exact"),
        ({"event_id": ["order_id", "order_id"]}, "view 'purchases': event_id: 'order_id' and 'order_id' are one name"),
        ({"event_id": 3}, "view 'purchases': event_id is 3; pass a list of fields' names"),
        ({"ttl": "7d"}, "view 'purchases': leave ttl out; with aggregations, windows expire by themselves"),
    ],
)  # fmt: skip
def test_views_of_events_that_are_refused(changes: dict[str, Any], message: str) -> None:
    """A view whose aggregations don't suit its fields is refused, naming both."""
    with pytest.raises(DefinitionError) as caught:
        purchases(**changes)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("dtype", [*SCALARS, "list<int64>", "list<float32>[2]"])
def test_what_each_function_gives_for_each_type(dtype: str) -> None:
    """The table of the docstring, type by type."""
    column = dtypes.resolve(dtype)
    listed = dtype.startswith("list")
    whole = dtype in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    decimal, floating = dtype.startswith("decimal"), dtype.startswith("float")
    number, time = whole or decimal or floating, dtype.startswith(("date", "timestamp"))
    sums = pa.decimal128(38, column.scale) if decimal else pa.float64() if floating else pa.int64()
    expected: dict[str, Any] = {
        "count": pa.int64(),
        "sum": (pa.uint64() if dtype == "uint64" else sums) if number else None,
        **dict.fromkeys(("mean", "var", "std"), pa.float64() if number else None),
        **dict.fromkeys(("min", "max"), column if number or time else None),
        **dict.fromkeys(("first", "last"), column),
        "count_distinct": None if listed else pa.int64(),
    }
    for function, kind in expected.items():
        if kind is None:
            with pytest.raises(DefinitionError, match="of which there is no"):
                one(function, "x").output_type({"x": column}, "view 'v'")
        else:
            assert one(function, "x").output_type({"x": column}, "view 'v'") == kind
    many = one("first", "x", n=3)
    if listed:
        with pytest.raises(DefinitionError, match="there is no list of n values"):
            many.output_type({"x": column}, "view 'v'")
    else:
        assert many.output_type({"x": column}, "view 'v'") == pa.list_(column)


def test_a_view_of_events_survives_json_pickle_and_yaml() -> None:
    """Aggregations are part of the definition: whatever way it goes, an equal one comes back."""
    view = purchases()
    again = from_dict(json.loads(json.dumps(view.to_dict())), lambda name: pytest.fail(name))
    assert again == view
    assert again.digest == view.digest
    assert pickle.loads(pickle.dumps(view)) == view
    text = write([view], lambda sql: {"orders"})
    (back,) = read(text, lambda sql: {"orders"}, lambda name: pytest.fail(name), lambda bare: bare)
    assert back == view
    assert isinstance(back, FeatureView)
    assert back.aggregations == view.aggregations


def test_yaml_says_where_an_aggregation_is_wrong() -> None:
    """An error in a file names file and line."""
    text = write([purchases()], lambda sql: {"orders"}).replace("function: mean", "function: maen")
    with pytest.raises(DefinitionError, match=r"definitions.yaml:\d+: aggregation: there is no function 'maen'"):
        read(text, lambda sql: {"orders"}, lambda name: pytest.fail(name), lambda bare: bare)


def test_every_part_of_an_aggregation_is_content() -> None:
    """What decides values decides the digest."""
    total = AGGREGATIONS[1]
    parts = [{"name": "other"}, {"windows": ["7d"]}, {"where": "amount > 1"}, {"closed": "left"}, {"hop": "1h"}, {}]
    others = [purchases(aggregations=[dataclasses.replace(total, **part)]) for part in parts]  # type: ignore[arg-type]
    others += [purchases(), purchases(event_id=[]), purchases(aggregations=AGGREGATIONS[::-1])]
    assert len({view.digest for view in others}) == len(others)


def test_another_window_is_a_minor_change() -> None:
    """More windows or aggregations add features; less, or another order, breaks who relies on them."""
    base = purchases(aggregations=AGGREGATIONS[:1])
    more = dataclasses.replace(AGGREGATIONS[0], windows=["1h", "6h", "7d"])
    assert required_bump(base, purchases(aggregations=AGGREGATIONS)) == "minor"
    assert required_bump(base, purchases(aggregations=[more])) == "minor"
    assert required_bump(purchases(), base) == "major"
    assert required_bump(purchases(aggregations=[more]), base) == "major"
    assert required_bump(base, purchases(aggregations=AGGREGATIONS[:1], event_id=())) == "major"


BAD_CONDITIONS = {
    "amount": "gives DOUBLE, not true or false",
    "NULL": "not true or false",
    "amont > 0": '"amont" not found',
    "amount > ": "is no SQL expression",
    "amount > 0) , (true": "is more than one expression",
    "true) FROM __events; SELECT (true": "is more than one expression",
    "amount > (SELECT 1)": "looks beyond one event: it has a subquery",
    "sum(amount) OVER () > 1": "looks beyond one event: it has a window",
    "max(amount) > 1": "looks beyond one event: max is no function of single values",
    "unnest([true])": "looks beyond one event",
    "amount > ?": "looks beyond one event: it has a parameter",
    "random() < 0.5": "isn't the same always: random",
    "event_timestamp < now()": "isn't the same always: now",
    "event_timestamp < current_timestamp": "isn't the same always: current_timestamp",
    "event_timestamp > ago(INTERVAL 1 DAY)": "isn't the same always: current_timestamp",
    "age(event_timestamp) > INTERVAL 1 DAY": "isn't the same always: age",
}


@pytest.mark.parametrize("where", BAD_CONDITIONS)
def test_conditions_that_are_refused(store: FeatureStore, where: str) -> None:
    """A condition is true or false of one event, the same whenever it is asked; `apply` refuses any other."""
    with pytest.raises(DefinitionError) as caught:
        store.apply(purchases(source=None, aggregations=[one("count", where=where)]))
    assert "view 'purchases': where" in str(caught.value)
    assert BAD_CONDITIONS[where] in str(caught.value)
    assert not store.registry.listing()


@pytest.mark.parametrize(
    "where",
    ["amount > 0 -- paid", "shop IN ('a', 'b') AND user_id % 2 = 0", "hour(event_timestamp) < 6", "len(items) > 1",
     "nullif(shop, '') IS NOT NULL", "shop LIKE 'a%' OR amount BETWEEN 1 AND 2"],
)  # fmt: skip
def test_conditions_that_are_taken(store: FeatureStore, where: str) -> None:
    """Keys, the event time and every field can be read."""
    store.apply(purchases(source=None, aggregations=[one("count", where=where)]))


def test_an_event_is_refused_whole(store: FeatureStore) -> None:
    """An event without id, or one for which a condition can't be computed, is refused before anything is written."""
    cast = one("count", where="shop::INTEGER > 1")
    view = purchases(source=None, fields=FIELDS[:3], aggregations=[cast])
    store.apply(view)
    event = {"user_id": 1, "event_timestamp": "2024-01-01T00:00:00Z", "order_id": "o", "amount": 1.0, "shop": "2"}
    rows = pa.Table.from_pylist([event])
    times = rows["event_timestamp"].cast(pa.timestamp("us", "UTC"))
    rows = rows.set_column(1, "event_timestamp", times)
    assert store.write(view, rows) == 1
    anonymous = rows.set_column(2, "order_id", pa.array([None], pa.string()))
    with pytest.raises(ValidationError, match=r"column 'order_id' is null in row 0\. Nothing was written"):
        store.write(view, anonymous)
    with pytest.raises(ValidationError, match=r"where fails for a value: .*Nothing was written"):
        store.push(view, rows.set_column(4, "shop", pa.array(["two"])))
    assert store.history(view).num_rows == 1
    assert store.push(view, rows) == 1
    assert store.history(view).column_names == [*history_schema(view).names]


def test_a_clash_of_names_says_what_clashes() -> None:
    """Both features are told apart by what they are, and the way out is named."""
    with pytest.raises(DefinitionError, match=r"count\(\) in 7d, and count\(shop\) in 7d\. .* with name=\."):
        purchases(aggregations=[one("count"), one("count", "shop", name="count")])
    with pytest.raises(DefinitionError, match=r"a field, and last\(shop\) of all time"):
        purchases(aggregations=[one("last", "shop", name="amount", windows=[None])])


def test_a_negative_window_is_called_negative() -> None:
    """Text as well as a timedelta."""
    with pytest.raises(DefinitionError, match=r"window '-1h' is not a duration.* It is negative"):
        one("count", windows=["-1h"])
