"""A small shop with customers and orders, which the lineage tests ask about."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fs_core import SQL, Entity, FeatureService, FeatureStore, FeatureView, Field, Source
from fs_core.training_set import TrainingSet

user = Entity("user", keys={"user_id": "int64"}, description="A customer.")
orders = Source("orders", "orders.csv")
users = Source("users", "users.csv")
VALUE = """
WITH paid AS (SELECT * FROM orders WHERE status = 'paid')
SELECT user_id, ordered_at AS event_timestamp, country,
    sum(order_amount) OVER (PARTITION BY user_id ORDER BY ordered_at)::DOUBLE AS customer_lifetime_value
FROM paid JOIN users USING (user_id)
"""
value = FeatureView(
    "value",
    user,
    [
        Field("customer_lifetime_value", "float64", "What a customer paid so far, EUR."),
        Field("country", "string", "Where a customer lives."),
    ],
    source=SQL(VALUE),
    description="What a customer is worth.",
)
habits = FeatureView(
    "habits",
    user,
    [Field("orders", "int64", "Orders so far.")],
    source=SQL("SELECT user_id, max(ordered_at) AS event_timestamp, count(*) AS orders FROM orders GROUP BY user_id"),
    description="How a customer buys.",
)
profile = FeatureView(
    "profile",
    user,
    [Field("country", "string", "Where a customer lives.")],
    source=users,
    event_timestamp="since",
    description="Who a customer is.",
)
pushed = FeatureView("pushed", user, [Field("clicks", "int64", "Clicks.")], description="What was clicked.")
churn = FeatureService("churn_features", ["value.*", "habits.orders"])
SHOP = [user, orders, users, value, habits, profile, pushed, churn]


def write_files(directory: Path) -> None:
    """Write the data that the sources point to."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "orders.csv").write_text(
        "order_id,user_id,ordered_at,order_amount,status\n"
        "1,1,2024-01-01,5,paid\n2,1,2024-01-03,7,paid\n3,2,2024-01-02,1,open\n4,2,2024-01-04,2,paid\n"
    )
    (directory / "users.csv").write_text("user_id,country,since\n1,DE,2023-01-01\n2,FR,2023-02-01\n")


@pytest.fixture(scope="session")
def defined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's directory, its data where the sources say, definitions applied and nothing written; left as it is."""
    directory = tmp_path_factory.mktemp("defined") / "shop"
    write_files(directory)
    with FeatureStore(directory) as store:
        store.apply(*SHOP)
    return directory


@pytest.fixture
def shop(defined: Path, tmp_path: Path) -> Iterator[FeatureStore]:
    """A copy of the shop."""
    shutil.copytree(defined, tmp_path / "shop")
    with FeatureStore(tmp_path / "shop") as store:
        yield store


@pytest.fixture
def train(shop: FeatureStore) -> Callable[..., TrainingSet]:
    """A function that makes a training set of the shop's features."""
    for view in ("value", "habits", "profile"):
        shop.backfill(view)

    def make(*features: str) -> TrainingSet:
        spine = {"user_id": [1, 2], "event_timestamp": [datetime(2024, 2, 1, tzinfo=UTC)] * 2}
        return shop.get_historical_features(spine, features[0] if len(features) == 1 else list(features))

    return make
