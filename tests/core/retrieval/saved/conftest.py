"""A store with something to save."""

from __future__ import annotations

import pytest

from fs_core import FeatureStore, FeatureView, Field
from tests.core.retrieval.saved.sets import THING, facts


@pytest.fixture
def filled(store: FeatureStore) -> FeatureStore:
    """A store with forty facts of four things."""
    store.apply(FeatureView("facts", entity=THING, fields=[Field("x", "int64", "X.")], description="Facts."))
    store.write("facts", facts(*range(40)))
    return store
