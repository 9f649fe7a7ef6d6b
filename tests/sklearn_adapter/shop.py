"""A small shop to look features up in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Self

from sklearn.base import BaseEstimator, ClassifierMixin

from fs_core import Entity, FeatureService, FeatureStore, FeatureView, Field

NOW = datetime.now(UTC)
USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
SPENDING = FeatureView(
    "spending",
    entity=USER,
    fields=[
        Field("amount", "float64", "Last order, EUR."),
        Field("orders", "int32", "How many orders so far."),
        Field("subscribed", "bool", "Whether the user gets the newsletter."),
    ],
    description="What a user bought.",
)
VISITS = FeatureView(
    "visits",
    entity=USER,
    fields=[
        Field("page", "string", "The page last seen."),
        Field("member_number", "int64", "A number of many digits."),
    ],
    ttl="5d",
    description="What a user looked at.",
)
MODEL_IN = FeatureService("model_in", features=["spending.*", "visits.page"], description="What the model takes.")


def ago(*days: float) -> list[datetime]:
    """Moments so many days before the tests began."""
    return [NOW - timedelta(days=n) for n in days]


def fill(store: FeatureStore) -> FeatureStore:
    """Define, write and materialize: user 1 came twice, user 2's visit has expired, user 3 has nulls, 4 is unknown."""
    store.apply(USER, SPENDING, VISITS, MODEL_IN)
    spent = {"amount": [10.0, 30.5, 20.25, None], "orders": [1, 2, 7, None], "subscribed": [False, True, True, None]}
    store.write("spending", {"user_id": [1, 1, 2, 3], "event_timestamp": ago(9, 2, 8, 7), **spent})
    seen = {"page": ["cart", "home", "home"], "member_number": [2**53 + 1, 2**60 + 1, None]}
    store.write("visits", {"user_id": [1, 2, 3], "event_timestamp": ago(1, 6, 1), **seen})
    store.materialize()
    return store


class Recorder(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A model that keeps what it is fitted on, and predicts by giving back what it is asked."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Keep X."""
        self.fitted_on_ = X
        return self

    def predict(self, X: Any) -> Any:
        """Give X back."""
        return X
