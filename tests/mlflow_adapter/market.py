"""A small market: customers and shops by the day, with features of every kind that a request can go wrong with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fs_core import SQL, Entity, FeatureService, FeatureStore, FeatureView, Field, Source, TrainingSet

NOW = datetime.now(UTC).replace(microsecond=123456)
CUSTOMERS, DAYS = 40, 6
SHOPS = ("north", "south")
FEATURES = ["amount", "orders", "member", "visitors"]
INPUTS = ["amount", "orders", "visitors", "basket"]

orders = Source("orders", path="orders.parquet", description="Every order.")
customer = Entity("customer", keys={"customer": "int64"}, description="A customer.")
shop = Entity("shop", keys={"shop": "string", "day": "date"}, description="A shop on a day.")


def spending(**changes: Any) -> FeatureView:
    """What a customer spent, or what another store thinks that this means."""
    asked = {
        "version": "1.0.0",
        "fields": [
            Field("amount", "float64", "Last order, EUR."),
            Field("orders", "int32", "Orders so far."),
            Field("member", "bool", "Whether the customer is a member."),
        ],
        "source": SQL("SELECT customer, ordered_at AS event_timestamp, amount, orders, member FROM orders"),
        "description": "What a customer spent.",
    }
    return FeatureView("spending", entity=customer, **(asked | changes))


FOOTFALL = FeatureView(
    "footfall",
    entity=shop,
    fields=[
        Field("visitors", "int16", "Visitors so far."),
        Field("weather", "string", "The weather outside, in a word."),
    ],
    ttl="30d",
    description="How a shop's day goes.",
)
MODEL_IN = FeatureService(
    "model_in", features=["spending.*", "footfall.visitors", "footfall.weather"], description="What models take."
)


def fill(store: FeatureStore) -> FeatureStore:
    """Define, write and materialize: each customer's orders on six days, customer 7 with nulls; two shops' days."""
    store.apply(orders, spending(), FOOTFALL, MODEL_IN)
    rng = np.random.default_rng(7)
    rows = [(c, day) for c in range(CUSTOMERS) for day in range(DAYS)]
    store.write(
        "spending",
        {
            "customer": [c for c, _ in rows],
            "event_timestamp": [NOW - timedelta(days=DAYS - day, minutes=c) for c, day in rows],
            "amount": pa.array(rng.normal(30, 9, len(rows)), mask=np.array([c == 7 for c, _ in rows])),
            "orders": [None if c == 7 else day + c % 3 for c, day in rows],
            "member": [None if c == 7 else c % 2 == 0 for c, _ in rows],
        },
    )
    store.write(
        "footfall",
        {
            "shop": list(SHOPS) * 2,
            "day": [today() - timedelta(days=n) for n in (0, 0, 1, 1)],
            "event_timestamp": [NOW - timedelta(hours=n) for n in (1, 2, 25, 26)],
            "visitors": [120, 80, 300, 210],
            "weather": ["rain", "rain", "sun", "fog"],
        },
    )
    store.materialize()
    return store


def today() -> Any:
    """The date of now."""
    return NOW.date()


def spine(times: list[datetime] | None = None) -> dict[str, Any]:
    """Each customer at each time, by default four days ago and now, in a shop, with a basket; the label is made up."""
    asked = [(c, at) for at in (times or [NOW - timedelta(days=4), NOW]) for c in range(CUSTOMERS)]
    rng = np.random.default_rng(11)
    return {
        "customer": [c for c, _ in asked],
        "shop": [SHOPS[c % 2] for c, _ in asked],
        "day": [today() for _ in asked],
        "event_timestamp": [at for _, at in asked],
        "basket": rng.normal(20, 5, len(asked)),
        "bought": [(c * 7 + n) % 3 == 0 for n, (c, _) in enumerate(asked)],
    }


def training_set(store: FeatureStore) -> TrainingSet:
    """What models here learn from."""
    return store.get_historical_features(spine(), "model_in", label="bought")


def request(found: TrainingSet, rows: int = CUSTOMERS) -> pd.DataFrame:
    """What a caller knows of the training set's last rows, those of now: keys and baskets."""
    return found.to_pandas()[["customer", "shop", "day", "basket"]].tail(rows).reset_index(drop=True)


def make(directory: Path) -> FeatureStore:
    """A filled store in a directory."""
    return fill(FeatureStore(directory))
