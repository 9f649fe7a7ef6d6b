"""What a fraud model looks at: what a customer spent, and how the payment at hand compares."""

from __future__ import annotations

from typing import Any

from fs_core import Entity, FeatureService, FeatureView, Field, OnDemandView, Request, on_demand

customer = Entity("customer", keys={"customer_id": "int64"}, description="Who pays.")
spending = FeatureView(
    "spending",
    entity=customer,
    fields=[
        Field("mean_30d", "float64", "Mean payment of 30 days, EUR."),
        Field("payments_30d", "int64", "Payments of 30 days."),
    ],
    description="What a customer spent lately.",
)
amount = Request("amount", "float64", "This payment, EUR.")


@on_demand(
    inputs=["spending.mean_30d", amount],
    fields=[Field("ratio", "float64", "This payment over the mean.")],
    description="How a payment compares with the customer's mean.",
)
def spend_ratio(mean_30d: Any, amount: Any) -> Any:
    """Divide; training and serving call this very function."""
    return amount / mean_30d


excess = OnDemandView(
    "excess",
    inputs=["spend_ratio.ratio", "spending.payments_30d"],
    fields=[Field("excess", "float64", "How far the ratio is above 1, more for customers who are known well.")],
    expressions={"excess": "greatest(ratio - 1, 0) * ln(1 + payments_30d)"},
    description="How odd a payment is for somebody known that well.",
)
fraud_model = FeatureService("fraud_model", features=["spend_ratio.ratio", "excess.excess", "spending.payments_30d"])
