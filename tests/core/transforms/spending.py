"""Transforms that tests import by path."""

from __future__ import annotations

from typing import Any

import numpy as np

from fs_core import Field, Request, on_demand

RATE = 1.25


def guarded(mean: Any) -> Any:
    """Return the mean, or NaN where it is zero."""
    return np.where(mean == 0.0, np.nan, mean)


@on_demand(
    inputs=["purchases.amount_mean_30d", Request("amount", "float64", "This payment, EUR.")],
    fields=[Field("ratio", "float64", "This payment over the mean of 30 days.")],
    version="1.0.0",
    description="How a payment compares.",
    owner="growth",
)
def spend_ratio(amount_mean_30d: Any, amount: Any) -> Any:
    """Divide."""
    return amount * RATE / guarded(amount_mean_30d)
