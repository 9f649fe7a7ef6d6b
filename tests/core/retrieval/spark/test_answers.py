"""A Spark frame as spine: the rule's rows, computed where the spine lies. Sail is the server."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import DataError, NameClashError, SchemaError, UnknownReferenceError
from fs_core.retrieval.spark import provenance
from tests.benchmarks.bench_spark import compared
from tests.benchmarks.bench_spark import fill as fill_benchmark
from tests.core.retrieval.spark.answering import (
    PYSPARK_WARNINGS,
    answered,
    check_any_history,
    in_spark,
    same_bits,
)
from tests.core.retrieval.test_parts import FEATURES, asked, fill

pytest.importorskip("pysail")

pytestmark = pytest.mark.filterwarnings(PYSPARK_WARNINGS)

T0 = datetime(2024, 1, 1, tzinfo=UTC)


def spine_of(rows: int) -> pa.Table:
    """Rows with duplicates, null keys and null times; Spark has no categories."""
    table = asked(rows)
    return table.set_column(2, "place", table["place"].cast(pa.string()))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A filled store that nobody changes."""
    return fill(FeatureStore(tmp_path_factory.mktemp("spark") / "store"))


@settings(max_examples=6)
@given(data=st.data(), windows=st.booleans())
def test_any_history_is_answered_as_by_the_oracle(
    sail: Any, fresh_directory: Callable[[], Path], data: st.DataObject, windows: bool
) -> None:
    """Two clocks, ties, expiry, nulls, every type, rows and windows: bits, spec and fingerprint are the same."""
    check_any_history(sail, fresh_directory(), data, windows)


@pytest.mark.parametrize("options", [{}, {"lag": "3h"}, {"label": "late"}, {"full_names": True}])
def test_views_of_different_entities_and_on_demand_views(
    sail: Any, filled: FeatureStore, options: dict[str, Any]
) -> None:
    """What is computed from what was looked up, look-ups by other columns, in three partitions."""
    features = FEATURES[1:] if options.get("full_names") else FEATURES
    found, said, whole = answered(sail, filled, spine_of(40), features, partitions=3, **options)
    assert same_bits(found, whole.table)
    assert (said.spec, said.unordered_fingerprint) == (whole.spec, whole.unordered_fingerprint)
    assert (said.features, said.keys, said.label) == (whole.features, whole.keys, whole.label)


def test_a_spine_without_rows(sail: Any, filled: FeatureStore) -> None:
    """It gives a frame without rows, with the same columns, types and fingerprint."""
    found, said, whole = answered(sail, filled, spine_of(0), FEATURES)
    assert (found.num_rows, found.column_names) == (0, whole.table.column_names[:6] + whole.features)
    assert said.unordered_fingerprint == whole.unordered_fingerprint


def test_nothing_is_computed_or_shuffled_until_somebody_wants_rows(sail: Any, tmp_path: Path) -> None:
    """Five views of one entity, one shuffle, the spine's own; the directory is looked into when rows are wanted."""
    keys = Entity("user", keys={"user_id": "int64"}, description="Who.")
    views = [
        FeatureView(f"v{n}", entity=keys, fields=[Field(f"x{n}", "int64", "A number.")], description="A view.")
        for n in range(5)
    ]
    store = FeatureStore(tmp_path / "store")
    store.apply(*views)
    for view in views:
        store.write(view, {"user_id": [1], "event_timestamp": [T0], view.name.replace("v", "x"): [1]})
    spine, _ = in_spark(sail, pa.table({"user_id": [1, 2], "event_timestamp": [T0, T0]}), partitions=2)
    made = store.get_historical_features(spine, views)
    plan = plan_of(made)
    assert plan.count("MapPartitionsExec") == 1
    assert plan.count("RepartitionExec") == plan_of(spine).count("RepartitionExec") == 1
    shutil.move(tmp_path / "store" / "history", tmp_path / "elsewhere")
    with pytest.raises(Exception, match="history"):  # Spark's own error, with the text of ours
        made.toArrow()
    shutil.move(tmp_path / "elsewhere", tmp_path / "store" / "history")
    assert sorted(made.toArrow()["x4"].to_pylist(), key=str) == [1, None]


def plan_of(frame: Any) -> str:
    """Return the physical plan of a frame."""
    with redirect_stdout(StringIO()) as shown:
        frame.explain()
    return shown.getvalue()


def test_a_frame_reads_the_state_of_when_it_was_made(sail: Any, store: FeatureStore) -> None:
    """Rows that are written before Spark computes the frame change nothing; the spec makes it again later."""
    fill(store)
    frame, table = in_spark(sail, spine_of(30), partitions=2)
    made = store.get_historical_features(frame, FEATURES)
    whole = store.get_historical_features(table, FEATURES)
    store.write("spending", {"user_id": [0], "mean": [-1.0], "orders": [-1], "event_timestamp": [T0]})
    store.compact()
    assert provenance(made).unordered_fingerprint == whole.unordered_fingerprint
    again = store.recreate(provenance(made).spec, frame)
    assert provenance(again).unordered_fingerprint == whole.unordered_fingerprint
    newest = store.get_historical_features(frame, FEATURES)
    assert provenance(newest).unordered_fingerprint != whole.unordered_fingerprint
    assert store.recreate(provenance(made).spec, table).unordered_fingerprint == whole.unordered_fingerprint


def test_only_frames_that_were_made_here_have_a_provenance(sail: Any, filled: FeatureStore) -> None:
    """A frame made of one, and anything else, is refused with the way out."""
    frame, _ = in_spark(sail, spine_of(3), partitions=1)
    made = filled.get_historical_features(frame, FEATURES)
    for other in (frame, made.select("amount"), None):
        with pytest.raises(DataError, match="Pass the one that was returned"):
            provenance(other)


def test_a_refreshed_set_is_not_made_again_by_spark(sail: Any, filled: FeatureStore) -> None:
    """Which rows read which states goes by their order, which Spark's rows don't have."""
    frame, table = in_spark(sail, spine_of(3), partitions=1)
    spec = dict(filled.get_historical_features(table, FEATURES).spec)
    spec["parts"] = [{"rows": 3, "snapshots": spec["snapshots"]}]
    with pytest.raises(DataError, match=r"frame\.toArrow"):
        filled.recreate(spec, frame)


def test_what_the_columns_show_is_refused_at_once(sail: Any, filled: FeatureStore) -> None:
    """A missing key, time or label, a name that clashes, two columns of one name, an unknown view."""
    frame, _ = in_spark(sail, spine_of(3), partitions=1)
    with pytest.raises(SchemaError, match="no column 'user_id', a key of view"):
        filled.get_historical_features(frame.drop("user_id"), "spending")
    with pytest.raises(SchemaError, match="no column 'event_timestamp'"):
        filled.get_historical_features(frame.drop("event_timestamp"), "spending")
    with pytest.raises(SchemaError, match=r"no column 'latest'\. Did you mean 'late'"):
        filled.get_historical_features(frame, "spending", label="latest")
    with pytest.raises(NameClashError, match="'mean'"):
        filled.get_historical_features(frame.withColumnRenamed("late", "mean"), "spending")
    with pytest.raises(NameClashError, match="'Mean' and 'mean' are one name to Spark"):
        filled.get_historical_features(frame.withColumnRenamed("late", "Mean"), "spending")
    with pytest.raises(SchemaError, match="two columns named 'late'"):
        filled.get_historical_features(frame.select("*", "late"), "spending")
    with pytest.raises(UnknownReferenceError):
        filled.get_historical_features(frame, "nothing")


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "uint64", "float16", "list<uint64>", "list<float16>[2]"]
)
def test_types_that_spark_has_not_are_refused(sail: Any, store: FeatureStore, dtype: str) -> None:
    """The error names the feature, its type and the way out; other features of the view are answered."""
    fields = [Field("odd", dtype, "Spark can't."), Field("x", "int64", "Spark can.")]
    store.apply(FeatureView("v", entity=Entity("e", keys={"k": "int64"}), fields=fields, description="d"))
    frame, _ = in_spark(sail, pa.table({"k": [1], "event_timestamp": [T0]}), partitions=1)
    with pytest.raises(SchemaError, match=r"feature 'v\.odd' is .*and Spark has no such type\. Leave it out"):
        store.get_historical_features(frame, "v")
    assert store.get_historical_features(frame, "v.x").columns[-1] == "x"


def test_other_columns_of_the_spine_pass_through(sail: Any, filled: FeatureStore) -> None:
    """A map, for which we have no column type, stays beside the features; only a fingerprint needs to know it."""
    plain = sail.sql("SELECT 1L AS user_id, TIMESTAMP '2024-01-02 00:00:00' AS event_timestamp, map('a', 1) AS m")
    made = filled.get_historical_features(plain, "spending.orders")
    (row,) = made.collect()
    assert row["m"] == {"a": 1}
    assert row["orders"] is not None
    with pytest.raises(SchemaError, match="column 'm' is of Spark's type map<string,int>"):
        _ = provenance(made).unordered_fingerprint


def test_the_session_time_zone_changes_no_answer(sail: Any, filled: FeatureStore) -> None:
    """Zones are how Spark shows a moment."""
    before = sail.conf.get("spark.sql.session.timeZone")
    sail.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        found, said, whole = answered(sail, filled, spine_of(20), FEATURES, partitions=2)
        assert same_bits(found, whole.table)
        assert said.unordered_fingerprint == whole.unordered_fingerprint
    finally:
        sail.conf.set("spark.sql.session.timeZone", before)


def test_a_value_that_does_not_fit_is_named_by_spark(sail: Any, filled: FeatureStore) -> None:
    """What only rows can show comes when they are computed, in the text of Spark's error."""
    spine = pa.table({"user_id": [0.5], "event_timestamp": [T0 + timedelta(days=1)]})
    frame, _ = in_spark(sail, spine, partitions=1)
    made = filled.get_historical_features(frame, "spending")
    with pytest.raises(Exception, match="'user_id'"):
        made.toArrow()


def test_history_in_a_bucket(sail_with_keys: Any, bucket: str, s3_server: dict[str, str], tmp_path: Path) -> None:
    """Who computes reads the bucket with the credentials of its own environment; the plan holds none."""
    store = fill(FeatureStore(tmp_path / "store", offline=bucket))
    found, said, whole = answered(sail_with_keys, store, spine_of(20), FEATURES, partitions=2)
    sent = said.frame._plan.to_proto(sail_with_keys.client).SerializeToString()
    assert same_bits(found, whole.table)
    assert said.spec == whole.spec
    assert bucket.encode() in sent
    assert s3_server["AWS_SECRET_ACCESS_KEY"].encode() not in sent
    assert s3_server["AWS_SECRET_ACCESS_KEY"] not in repr(said)


def test_a_frame_elsewhere_is_refused_with_the_way_out(sail: Any, filled: FeatureStore) -> None:
    """Reads and streams take rows in memory; to bring them there is for the caller to decide."""
    frame, _ = in_spark(sail, spine_of(3), partitions=1)
    for refused in (
        lambda: filled.stream_historical_features(frame, "spending"),
        lambda: filled.get_online_features("spending", frame),
    ):
        with pytest.raises(SchemaError, match=r"pass frame.toArrow\(\)"):
            refused()


def test_parquet_in_parquet_out(sail: Any, tmp_path: Path) -> None:
    """What the benchmark times, from Parquet into Parquet, gives the embedded engine's rows; it refuses others."""
    fill_benchmark(tmp_path, history=2_000, spine=160)
    found = compared(tmp_path, lambda _: {"Sail": nullcontext(sail)}, cores=[1], runs=1)
    assert set(found) == {("embedded", 1), ("Sail", 1)}
