"""Computed features as tensors: those that are served are those of training."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from fs_core import Encoding, FeatureStore
from fs_tf import OnlineFeatures, feature_dataset
from tests.core.transforms import shop


def test_computed_features_are_the_same_tensors(store: FeatureStore) -> None:
    """A function's and an expression's features, looked up beside others; request columns stand beside the keys."""
    now = datetime.now(UTC)
    store.apply(shop.EVERYTHING)
    store.write("spending", {**shop.ROWS, "event_timestamp": [now - timedelta(days=day) for day in (4, 3, 2, 1)]})
    store.materialize()
    entities = {name: shop.SPINE[name] for name in ("user_id", "amount", "budget")}
    training = store.get_historical_features({**entities, "event_timestamp": [now] * 6}, "payment_model")
    encoding = Encoding.fit(training, fill={"orders": 0}, mask=["ratio"])
    (trained,) = feature_dataset(training, batch_size=6, layout="matrix", label=False, encoding=encoding)
    served = OnlineFeatures(store, training.spec, encoding, layout="matrix")(entities)
    assert np.asarray(served).tobytes() == np.asarray(trained).tobytes()
    assert served.shape == (6, 5)
