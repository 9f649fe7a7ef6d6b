"""Windows through the front door: training sets, streams, look-ups, saved sets, beside plain views."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.errors import DataError
from fs_core.testing.window_oracle import oracle_windows

user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
purchases = FeatureView(
    "purchases",
    user,
    [
        Field("order_id", "string", "The order."),
        Field("amount", "float64", "Paid, EUR."),
        Field("shop", "string", "Where."),
    ],
    description="What a user buys.",
    event_id=["order_id"],
    aggregations=[
        Aggregation("count", windows=["1h", "7d"]),
        Aggregation("sum", "amount", windows=["7d", "30d"], where="amount > 0"),
        Aggregation("mean", "amount", windows=["30d"], closed="left"),
        Aggregation("last", "shop", n=5, windows=[None]),
        Aggregation("count_distinct", "shop", windows=["30d"], name="shops"),
    ],
)
profile = FeatureView("profile", user, [Field("country", "string", "Where they live.")], description="Who they are.")
POSITIVE = {"amount > 0": lambda row: row["amount"] is not None and row["amount"] > 0}


def day(number: float) -> datetime:
    """A moment so many days after the first of January."""
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)


def order(user_id: int, at: float, order_id: str, amount: float | None, shop: str = "a") -> dict[str, Any]:
    """One purchase."""
    return {"user_id": user_id, "event_timestamp": day(at), "order_id": order_id, "amount": amount, "shop": shop}


ORDERS = [
    order(1, 0, "o1", 1e16), order(1, 0.5, "o2", 1.0, "b"), order(1, 1, "o3", 1.0, "c"), order(1, 2, "o4", -1e16),
    order(1, 6, "o1", 1e16, "d"), order(2, 3, "p1", None), order(2, 3, "p2", 0.1), order(2, 3.01, "p3", 0.2),
]  # fmt: skip
SPINE = [{"user_id": u, "event_timestamp": day(d), "label": d} for d in (1, 2, 3, 6.5, 40) for u in (1, 2, 3)]


@pytest.fixture
def shop(store: FeatureStore) -> FeatureStore:
    """A store with purchases and profiles."""
    store.apply(purchases, profile)
    store.write(purchases, pa.Table.from_pylist(ORDERS))
    store.write(profile, [{"user_id": 1, "event_timestamp": day(0), "country": "FR"}])
    return store


def expected(store: FeatureStore) -> list[dict[str, Any]]:
    """Return what the oracle says of the spine, features alone."""
    spine = [{"user_id": row["user_id"], "__time": row["event_timestamp"]} for row in SPINE]
    answers = oracle_windows(purchases, store.history(purchases).to_pylist(), spine, POSITIVE)
    return [{name: answer[name] for name in purchases.features} for answer in answers]


def windows_of(table: pa.Table) -> list[dict[str, Any]]:
    """Return the windows' columns of a result, as rows."""
    rows: list[dict[str, Any]] = table.select(list(purchases.features)).to_pylist()
    return rows


def test_windows_beside_plain_views(shop: FeatureStore) -> None:
    """One request takes both; who never bought has counted nothing."""
    made = shop.get_historical_features(SPINE, ["purchases", "profile.country"], label="label")
    assert windows_of(made.table) == expected(shop)
    assert made.table["country"].to_pylist() == [c for _ in range(5) for c in ("FR", None, None)]
    nobody = made.table.slice(2, 1).to_pylist()[0]
    assert (nobody["count_7d"], nobody["amount_sum_7d"], nobody["shops_30d"]) == (0, None, 0)
    first = made.table.slice(12, 1).to_pylist()[0]
    assert (first["amount_sum_30d"], first["shop_last_5"]) == (None, ["b", "c", "a", "d"])


def test_a_sum_is_exact_whatever_the_order(shop: FeatureStore) -> None:
    """1e16 + 1 + 1 - 1e16 is 2, though no running sum of floats says so."""
    spine = [{"user_id": 1, "event_timestamp": day(2)}]
    total = Aggregation("sum", "amount", windows=["7d"], name="total")
    shop.apply(dataclasses.replace(purchases, version="2.0.0", aggregations=[total], event_id=()))
    shop.write("purchases", pa.Table.from_pylist(ORDERS[3::-1]))
    assert shop.get_historical_features(spine, "purchases").table["total_7d"].to_pylist() == [2.0]


def test_streams_readers_and_saved_sets(shop: FeatureStore, tmp_path: Path) -> None:
    """Every way to read history gives the same windows, and a training set can be made again after later writes."""
    asked = ["purchases", "profile.country"]
    made = shop.get_historical_features(SPINE, asked)
    streamed = shop.stream_historical_features(SPINE, asked, batch_size=4).read_all()
    assert streamed.equals(made.table)
    reader = pickle.loads(pickle.dumps(shop.as_of_reader(asked)))
    assert reader.schema.field("shop_last_5").type == pa.list_(pa.string())
    looked_up = reader.lookup([{"user_id": r["user_id"], "event_timestamp": r["event_timestamp"]} for r in SPINE])
    assert (
        pa.Table.from_batches([looked_up])
        .select(list(purchases.features))
        .equals(made.table.select(list(purchases.features)))
    )
    shop.save_training_set(made, "kept")
    shop.write(purchases, pa.Table.from_pylist([order(1, 1.5, "late", 7.0), order(3, 0, "q1", 5.0)]))
    shop.compact()
    again = shop.recreate(made.spec, SPINE)
    assert again.fingerprint == made.fingerprint
    assert shop.load_training_set("kept").fingerprint == made.fingerprint
    now = shop.get_historical_features(SPINE, asked)
    assert now.fingerprint != made.fingerprint
    assert windows_of(now.table) == expected(shop)


def test_lag_and_status(shop: FeatureStore) -> None:
    """A request may look some time before each moment."""
    made = shop.get_historical_features([{"user_id": 1, "event_timestamp": day(3)}], "purchases.count_7d", lag="60h")
    assert made.table["count_7d"].to_pylist() == [2]


def test_what_leaks_is_found_in_windows_too(shop: FeatureStore) -> None:
    """The leak detector asks windows again without the future, and gets the same answers."""
    report = shop.check_leakage("purchases", SPINE, "label")
    assert not [finding for finding in report.findings if finding.check == "truncation"]


def test_a_sum_that_does_not_fit_names_the_entity(store: FeatureStore) -> None:
    """A whole number beyond 64 bits is an error that says of whom, when, and what to do."""
    view = FeatureView(
        "v", user, [Field("n", "int64", "A number.")], description="V.",
        aggregations=[Aggregation("sum", "n", windows=["7d"]), Aggregation("mean", "n", windows=["7d"])],
    )  # fmt: skip
    store.apply(view)
    rows = [{"user_id": 5, "event_timestamp": day(0), "n": 2**63 - 1} for _ in range(2)]
    store.write(view, pa.Table.from_pylist(rows))
    asked = [{"user_id": 5, "event_timestamp": day(1)}]
    with pytest.raises(DataError, match=r"view 'v': n_sum_7d of user_id=5 at 2024-01-02.* doesn't fit int64"):
        store.get_historical_features(asked, "v")
    assert store.get_historical_features(asked, "v.n_mean_7d").table["n_mean_7d"].to_pylist() == [2.0**63]
