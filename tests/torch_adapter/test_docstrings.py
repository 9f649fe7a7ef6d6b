"""The examples in the docstrings give what they say."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime
from typing import Any

import pytest

from fs_core import Encoding, Entity, FeatureStore, FeatureView, Field
from fs_torch import FeatureDataset, FeatureIterableDataset, OnlineFeatures
from tests.torch_adapter.numbers import numbered

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
FIELDS = [Field(name, "int64", f"How many {name}.") for name in ("visits", "orders")]


@pytest.mark.parametrize("documented", [FeatureDataset, FeatureIterableDataset, OnlineFeatures])
def test_the_examples_run(documented: Any, store: FeatureStore) -> None:
    """As typed, by somebody who has nine rows, a store of two users and an encoding."""
    store.apply(USER, FeatureView("spending", entity=USER, fields=FIELDS, description="What a user did."))
    now = datetime.now(UTC)
    rows = {"user_id": [1, 2], "event_timestamp": [now] * 2}
    store.write("spending", {**rows, "visits": [1, 3], "orders": [2, 4]})
    store.materialize()
    served = store.get_historical_features(rows, "spending")
    names: dict[str, Any] = {"store": store, documented.__name__: documented, "training": numbered(9)}
    if documented is OnlineFeatures:
        names |= {"training": served, "encoding": Encoding.fit(served, fill=0)}
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, documented.__name__, globs=names)
    failed, tried = doctest.DocTestRunner().run(example)
    assert failed == 0 < tried
