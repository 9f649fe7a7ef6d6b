"""Rows of a Spark frame into history. Sail is the server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_core import Entity, FeatureStore, FeatureView, Field, Source
from fs_core.errors import SchemaError, SourceError, ValidationError
from fs_core.retrieval.spark.frames import packed_batches
from fs_core.testing.oracle import bits
from tests.core.retrieval.spark.answering import PYSPARK_WARNINGS
from tests.core.retrieval.spark.sessions import another

pytest.importorskip("pysail")

pytestmark = pytest.mark.filterwarnings(PYSPARK_WARNINGS)

T0 = datetime(2024, 1, 1, tzinfo=UTC)
VALUES = {
    "bool": [True, None],
    "int8": [-128, None],
    "int16": [2**15 - 1, None],
    "int32": [-(2**31), None],
    "int64": [2**53 + 1, None],
    "float32": [float("nan"), None],
    "float64": [-0.0, None],
    "string": ["é", None],
    "binary": [b"\0", None],
    "date": [date(1969, 12, 31), None],
    "timestamp": [T0 - timedelta(days=40_000, microseconds=1), None],
    "timestamp[us]": [datetime(2024, 1, 1, 0, 0, 0, 1), None],
    "decimal(38, 2)": [Decimal("123456789012345678901234567890123456.78"), None],
    "list<float32>[2]": [[1.5, None], None],
    "list<string>": [["a", None, ""], None],
}


def everything() -> FeatureView:
    """A view with a feature of every type that Spark has."""
    fields = [Field(f"x{n}", dtype, "A value.") for n, dtype in enumerate(VALUES)]
    return FeatureView("v", entity=Entity("e", keys={"k": "int64"}, description="e"), fields=fields, description="d")


def test_a_frame_is_written_as_its_table_is(sail: Any, store: FeatureStore) -> None:
    """Every type that Spark has, nulls among the values: history holds the same bits, in the order of the rows."""
    view = everything()
    store.apply(view)
    columns = {f.name: pa.array(cells, f.type) for f, cells in zip(view.fields, VALUES.values(), strict=True)}
    table = pa.table({"k": [1, 2], "event_timestamp": pa.array([T0, T0], pa.timestamp("us", "UTC")), **columns})
    plain = table.set_column(table.column_names.index("x13"), "x13", table["x13"].cast(pa.list_(pa.float32())))
    assert store.write(view, sail.createDataFrame(plain)) == 2
    assert store.write(view, table) == 2
    rows = store.history(view).sort_by("__seq").select(list(columns)).to_pylist()
    assert [bits(row) for row in rows[:2]] == [bits(row) for row in rows[2:]]


def numbers(store: FeatureStore) -> FeatureView:
    """Register a view of one number."""
    view = FeatureView(
        "n",
        entity=Entity("k", keys={"k": "int64"}, description="k"),
        fields=[Field("x", "int64", "A number.", minimum=0)],
        description="d",
    )
    store.apply(view)
    return view


def test_partitions_come_one_after_the_other(sail: Any, store: FeatureStore) -> None:
    """Many partitions, some of them empty, are one write; no row is lost or doubled."""
    view = numbers(store)
    frame = sail.range(25_000).selectExpr("id AS k", "timestamp('2024-01-01 00:00:00Z') AS event_timestamp", "id AS x")
    assert store.write(view, frame.where("id % 7 <> 3 OR id < 100").repartition(5)) > 20_000
    found = store.history(view)["k"].to_pylist()
    assert sorted(found) == [n for n in range(25_000) if n % 7 != 3 or n < 100]
    assert store.write(view, frame.limit(0)) == 0


def test_wide_rows_travel_in_pieces() -> None:
    """A batch of many megabytes is several rows of bytes, as Spark Connect refuses a large one; no row is cut."""
    wide = pa.record_batch({"x": pa.array([[float(n)] * 30_000 for n in range(50)], pa.list_(pa.float64()))})
    given = [wide, wide.slice(7, 1), wide.slice(0, 0)]
    packed = pa.Table.from_batches(packed_batches(iter(given)))["batch"].to_pylist()
    assert max(map(len, packed)) < 2 << 20
    found = pa.concat_tables(pa.ipc.open_stream(one).read_all() for one in packed)
    assert found.equals(pa.Table.from_batches([wide, wide.slice(7, 1)]))
    one = pa.record_batch({"x": pa.array([[0.5] * 400_000], pa.list_(pa.float64()))})
    assert [batch.num_rows for batch in packed_batches(iter([one]))] == [1]


def test_a_frame_that_is_refused_or_fails_writes_nothing(sail: Any, store: FeatureStore) -> None:
    """Wrong columns, values and types, and a frame that Spark can't compute: a clear error, and no row in history."""
    view = numbers(store)
    good = sail.range(3).selectExpr("id AS k", "timestamp('2024-01-01 00:00:00Z') AS event_timestamp", "id AS x")
    with pytest.raises(SchemaError, match="'x'"):
        store.write(view, good.drop("x"))
    with pytest.raises(ValidationError, match="'x'"):
        store.write(view, good.selectExpr("k", "event_timestamp", "x - 2 AS x"))
    with pytest.raises(SchemaError, match="column 'x' is of Spark's type map<string,int>"):
        store.write(view, good.selectExpr("k", "event_timestamp", "map('a', 1) AS x"))
    with pytest.raises(SourceError, match=r"(?s)data for view 'n': Spark can't compute the frame: .*no luck"):
        store.write(view, good.selectExpr("k", "event_timestamp", "if(x > 1, raise_error('no luck'), x) AS x"))
    with pytest.raises(SourceError, match=r"data for view 'n': Spark knows no columns of the frame: .*'?nope"):
        store.write(view, good.select("nope"))
    with pytest.raises(ValidationError, match="'k' is null in row 0"):
        store.backfill(view, good.selectExpr("CAST(NULL AS BIGINT) AS k", "event_timestamp", "x"), start=T0)
    late = good.selectExpr("k", "if(k = 1, NULL, event_timestamp) AS event_timestamp", "x")
    with pytest.raises(ValidationError, match="'event_timestamp' is null in row 0"):
        store.backfill(view, late, start=T0 + timedelta(days=1), end=T0 + timedelta(days=2))
    assert store.history(view).num_rows == 0


@pytest.mark.parametrize("dtype", [pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.date32()], ids=str)
def test_bounds_mean_the_same_whatever_the_session_zone(sail: Any, store: FeatureStore, dtype: pa.DataType) -> None:
    """Moments, times without a zone, which are UTC, and days: of a frame those rows are taken that Arrow's would be."""
    view = numbers(store)
    times = pa.array([datetime(1960, 1, 1, tzinfo=UTC) + timedelta(hours=6 * n) for n in range(20)])
    table = pa.table(
        {"k": range(20), "event_timestamp": times.cast(pa.timestamp("us", "UTC")).cast(dtype), "x": range(20)}
    )
    bounds = {"start": datetime(1960, 1, 1, 12, tzinfo=UTC), "end": datetime(1960, 1, 4, tzinfo=UTC)}
    before = sail.conf.get("spark.sql.session.timeZone")
    sail.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        assert store.backfill(view, sail.createDataFrame(table), **bounds) >= 8
    finally:
        sail.conf.set("spark.sql.session.timeZone", before)
    assert store.backfill(view, table, incremental=True, **bounds) == 0
    taken = store.history(view).num_rows
    assert store.backfill(view, table, **bounds) == taken


def test_a_frame_of_a_session_that_was_stopped(sail: Any, store: FeatureStore) -> None:
    """Spark says so, behind what was to be read."""
    view, session = numbers(store), another(sail)
    columns = "id AS k", "timestamp('2024-01-01 00:00:00Z') AS event_timestamp", "id AS x"
    known, unknown = (session.range(3).selectExpr(*columns) for _ in range(2))
    assert known.columns == ["k", "event_timestamp", "x"]
    session.stop()
    with pytest.raises(SourceError, match=r"data for view 'n': Spark can't compute the frame: .*session"):
        store.write(view, known)
    with pytest.raises(SourceError, match=r"data for view 'n': Spark knows no columns of the frame: .*session"):
        store.write(view, unknown)
    with pytest.raises(SourceError, match=r"the spine: Spark knows no columns of the frame: .*session"):
        store.get_historical_features(unknown, view)


def test_what_spark_has_written_is_a_source(sail: Any, store: FeatureStore, tmp_path: Path) -> None:
    """A directory of Spark's Parquet files is backfilled; again, only the rows that are new."""
    view = numbers(store)
    view = replace(view, version="1.0.1", source=Source("made", path=tmp_path / "made", format="parquet"))
    frame = sail.range(100).selectExpr("id AS k", "timestamp('2024-01-01 00:00:00Z') AS event_timestamp", "id AS x")
    frame.repartition(3).write.parquet(str(tmp_path / "made"))
    store.apply(view)
    assert store.backfill("n") == 100
    more = sail.range(120).selectExpr("id AS k", "timestamp('2024-01-01 00:00:00Z') AS event_timestamp", "id AS x")
    more.write.mode("overwrite").parquet(str(tmp_path / "made"))
    assert [store.backfill("n", incremental=True) for _ in range(2)] == [20, 0]


def test_a_frame_is_backfilled_as_far_as_history_lacks_it(
    sail: Any, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever a job runs: new, late and corrected rows alone, compared in parts; what is too old stays with Spark."""
    monkeypatch.setattr("fs_core.store.history.parts._PART_BYTES", 20_000)
    view = numbers(store)
    frame = sail.range(5_000).selectExpr(
        "id AS k",
        "timestamp('2024-01-01 00:00:00Z') + make_interval(0, 0, 0, 0, CAST(id AS INT)) AS event_timestamp",
        "id AS x",
    )
    assert store.backfill(view, frame.where("k < 4000").repartition(3), incremental=True) == 4_000
    assert store.backfill(view, frame.repartition(3), incremental=True) == 1_000
    corrected = frame.selectExpr("k", "event_timestamp", "if(k IN (0, 4999), x + 1, x) AS x").repartition(2)
    assert store.backfill(view, corrected, incremental=True, lookback="10h") == 1
    assert store.backfill(view, corrected, incremental=True) == 1
    assert store.backfill(view, corrected, incremental=True) == 0
    assert store.history(view).sort_by("__seq")["k"].to_pylist()[-2:] == [4999, 0]
    assert store.offline.snapshot(view) == 3
