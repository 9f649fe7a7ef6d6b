"""Spark itself, where it is: `SPARK_HOME` names it, and Java runs it. The laws are those that Sail keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import FeatureStore
from tests.core.retrieval.spark.answering import PYSPARK_WARNINGS, answered, check_any_history, same_bits
from tests.core.retrieval.spark.sessions import spark_home, spark_session
from tests.core.retrieval.spark.test_answers import spine_of
from tests.core.retrieval.test_parts import FEATURES, fill

pytestmark = [
    pytest.mark.filterwarnings(PYSPARK_WARNINGS),
    pytest.mark.spark,
    pytest.mark.skipif(spark_home() is None, reason="no Java, or SPARK_HOME names no Spark with Spark Connect"),
]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """A session of Spark Connect on Spark."""
    home = spark_home()
    assert home is not None
    with spark_session(home) as session:
        yield session


@settings(max_examples=3)
@given(data=st.data(), windows=st.booleans())
def test_any_history_is_answered_as_by_the_oracle(
    spark: Any, fresh_directory: Callable[[], Path], data: st.DataObject, windows: bool
) -> None:
    """Two clocks, ties, expiry, nulls, every type, rows and windows: bits, spec and fingerprint are the same."""
    check_any_history(spark, fresh_directory(), data, windows)


def test_views_of_different_entities_and_on_demand_views(spark: Any, tmp_path: Path) -> None:
    """What is computed from what was looked up, look-ups by other columns, in three partitions."""
    with FeatureStore(tmp_path / "store") as store:
        found, said, whole = answered(spark, fill(store), spine_of(40), FEATURES, partitions=3, label="late")
    assert same_bits(found, whole.table)
    assert (said.spec, said.unordered_fingerprint) == (whole.spec, whole.unordered_fingerprint)
