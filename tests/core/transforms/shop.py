"""A shop: who bought what, and what is computed from it at request time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from fs_core import Entity, FeatureLookup, FeatureService, FeatureView, Field, OnDemandView, Request, on_demand

USER = Entity("user", keys={"user_id": "int64"}, description="Who buys.")
SPENDING = FeatureView(
    "spending",
    entity=USER,
    version="1.0.0",
    description="What was spent.",
    fields=[Field("mean", "float64", "Mean payment, EUR."), Field("orders", "int64", "How many orders.")],
    ttl="30d",
)
AMOUNT = Request("amount", "float64", "This payment, EUR.")


@on_demand(
    inputs=["spending.mean", AMOUNT],
    fields=[Field("ratio", "float64", "This payment over the mean.")],
    description="How a payment compares.",
)
def spend_ratio(mean: Any, amount: Any) -> Any:
    """Divide."""
    return amount / mean


@on_demand(
    inputs=["spend_ratio.ratio", "spending.orders", AMOUNT],
    fields=[Field("score", "float32", "How odd."), Field("is_odd", "bool", "Whether it is.")],
    description="How odd a payment is.",
    mode="polars",
)
def oddity(ratio: Any, orders: Any, amount: Any) -> Any:
    """Read a feature that is computed itself."""
    import polars as pl

    score = (ratio * 2.0 + orders * 0.1 + amount).cast(pl.Float32)
    return {"score": score, "is_odd": ratio > 3.0}


SHARE = OnDemandView(
    "share",
    inputs=["spending.mean", "spending.orders", Request("budget", "int64", "Budget, EUR.")],
    fields=[Field("share", "float64", "Of the budget that orders take.")],
    expressions={"share": "CASE WHEN budget > 0 THEN mean * orders / budget END"},
    description="How much of a budget is gone.",
)


@on_demand(
    inputs=[
        FeatureLookup("spending.mean", keys={"user_id": "seller_id"}, prefix="seller_"),
        FeatureLookup("spending.mean", keys={"user_id": "buyer_id"}, prefix="buyer_"),
    ],
    fields=[Field("gap", "float64", "Seller's mean less the buyer's.")],
    description="How two users compare.",
)
def gap(seller_mean: Any, buyer_mean: Any) -> Any:
    """Look one view up twice."""
    return np.subtract(seller_mean, buyer_mean)


MODEL = FeatureService("payment_model", features=["spend_ratio.*", "spending.orders", "oddity.score", "share"])
EVERYTHING = [USER, SPENDING, spend_ratio, oddity, SHARE, gap, MODEL]


def day(number: int) -> datetime:
    """Return a day of January 2025."""
    return datetime(2025, 1, number, tzinfo=UTC)


ROWS = {
    "user_id": [1, 2, 3, 1],
    "event_timestamp": [day(1), day(1), day(2), day(5)],
    "mean": [2.0, 0.0, None, 4.0],
    "orders": [3, None, 2**53 + 1, 7],
}
SPINE = {
    "user_id": [1, 1, 2, 3, 9, None],
    "event_timestamp": [day(3), day(6), day(3), day(3), day(3), day(3)],
    "amount": [9.0, 9.0, 9.0, 9.0, 9.0, None],
    "budget": [100, 0, None, 10, 10, 10],
}
