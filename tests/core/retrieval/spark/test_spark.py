"""Spark itself, where it is: `SPARK_HOME` names it, and Java runs it. The laws are those that Sail keeps."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pysail")
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import FeatureStore
from fs_core.errors import SourceError
from tests.core.retrieval.spark import test_frames
from tests.core.retrieval.spark.answering import PYSPARK_WARNINGS, answered, check_any_history, same_bits
from tests.core.retrieval.spark.sessions import spark_home, spark_session
from tests.core.retrieval.spark.test_answers import spine_of
from tests.core.retrieval.spark.test_materialize import VIEW, users
from tests.core.retrieval.test_parts import FEATURES, fill
from tests.servers import running_server

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


@settings(max_examples=2)
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


def test_online_rows_come_by_one_shuffle(spark: Any, tmp_path: Path) -> None:
    """Entities of several months are online as the rule says; the next run sends what is new."""
    with running_server("Valkey 9.1") as url, FeatureStore(tmp_path / "store", online=url) as store:
        store.apply(VIEW)
        for day in range(3):
            store.write(VIEW, users(range(20), day))
        (done,) = store.materialize(VIEW, spark=spark)
        assert (done.rows, done.applied, store.verify_online(VIEW).differences) == (20, 20, {})
        store.write(VIEW, users(range(5), 4))
        assert [found.rows for found in store.materialize(VIEW, spark=spark)] == [5]


def test_rows_come_into_history(spark: Any, store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What history lacks of a frame is written; what is refused, and frames of a stopped session, say so."""
    test_frames.test_a_frame_that_is_refused_or_fails_writes_nothing(spark, store)
    test_frames.test_a_frame_of_a_session_that_was_stopped(spark, store)
    with pytest.raises(SourceError) as raised:
        store.write("n", spark.table("nowhere"))
    assert len(str(raised.value).splitlines()) < 10  # no stack of the JVM
    test_frames.test_a_frame_is_backfilled_as_far_as_history_lacks_it(spark, store, monkeypatch)


CLASSIC = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from pyspark.sql import SparkSession
from fs_core import FeatureStore
from tests.core.retrieval.spark.answering import answered, same_bits
from tests.core.retrieval.spark.test_answers import spine_of
from tests.core.retrieval.test_parts import FEATURES, fill
from tests.servers import running_server

settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.sql.timestampType": "TIMESTAMP_NTZ"}
session = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
store = fill(FeatureStore(sys.argv[1]))
found, said, whole = answered(session, store, spine_of(40), FEATURES, partitions=2)
assert "classic" in type(said.frame).__module__
assert same_bits(found, whole.table)
assert (said.spec, said.unordered_fingerprint) == (whole.spec, whole.unordered_fingerprint)
said.frame.explain()
rows = "SELECT 77L AS user_id, TIMESTAMP_LTZ '2024-01-01 00:00:00Z' AS event_timestamp, 1L AS orders, 2.5D AS mean"
print("written", store.write("spending", session.sql(rows)))
print("known", store.backfill("spending", session.sql(rows), incremental=True, start="2024-01-01"))
with running_server("Valkey 9.1") as url, FeatureStore(sys.argv[1], online=url) as served:
    served.materialize("spending", spark=session)
    print("differences", served.verify_online("spending").differences)
"""


def test_without_spark_connect(tmp_path: Path) -> None:
    """A session in the process that asks gives the same bits, by one `mapInArrow` and no shuffle but the spine's."""
    home = spark_home()
    assert home is not None
    path = os.pathsep.join([str(home.parent), str(Path.cwd()), *sys.path])  # a Spark that pip installed
    if not (home / "__init__.py").exists():
        pytest.skip("SPARK_HOME is no package of Python")
    # A session of Spark Connect, as of other tests, says in the environment that no other kind is wanted.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    environment = {**kept, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": path, "SPARK_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", CLASSIC, str(tmp_path / "store")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    first, _, _ = done.stdout.partition("Initial Plan")
    assert (first.count("MapInArrow"), first.count("Exchange ")) == (1, 1)
    assert "written 1\nknown 0" in done.stdout
    assert "differences {}" in done.stdout
