"""Rows that come part after part: one write all the same, there whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fs_core import SQL, Entity, FeatureStore, FeatureView, Field, Source
from fs_core.errors import DataError, SchemaError, ValidationError
from fs_core.offline.delta.leftovers import data_files
from fs_core.store.history import parts

THING = Entity("thing", keys={"k": "int64"}, description="A thing.")
VIEW = FeatureView("v", entity=THING, fields=[Field("x", "float64", "X.", minimum=0)], description="V.", online=False)
ROWS, PARTS = 4_000, 8


@pytest.fixture
def small_parts(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """A store that sorts some hundred rows at a time."""
    monkeypatch.setattr(parts, "_PART_BYTES", 12_000)
    store.apply(VIEW)
    return store


def facts(rows: int = ROWS) -> pa.Table:
    """Return rows of forty things in a year, in no order."""
    rng = np.random.default_rng(3)
    start = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 10**6)
    times = pa.array(start + rng.integers(0, 365 * 86_400 * 10**6, rows), pa.timestamp("us", tz="UTC"))
    return pa.table({"k": rng.integers(0, 40, rows), "event_timestamp": times, "x": rng.random(rows)})


def reader(table: pa.Table, rows: int = ROWS // PARTS) -> pa.RecordBatchReader:
    """Return a table as a stream."""
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(rows))


def files(store: FeatureStore) -> set[str]:
    """Return the data files of history, named by a state or not."""
    return data_files(Path(store.directory) / "history" / VIEW.storage_name)


def test_a_stream_is_one_write(small_parts: FeatureStore, tmp_path: Path) -> None:
    """History is what the same rows in one table make of it, numbered in their order, in one state."""
    assert small_parts.write(VIEW, reader(facts())) == ROWS
    assert small_parts.offline.snapshot(VIEW) == 0
    with FeatureStore(tmp_path / "other") as other:
        other.apply(VIEW)
        other.write(VIEW, facts())
        assert small_parts.history(VIEW) == other.history(VIEW)
    assert small_parts.write(VIEW, reader(facts())) == ROWS
    assert small_parts.history(VIEW).num_rows == 2 * ROWS
    assert small_parts.verify_history().clean


def test_a_bad_row_in_a_late_part(small_parts: FeatureStore) -> None:
    """Nothing is written, not even a file is left, and the error says where the row is."""
    bad = facts()
    values = bad["x"].to_numpy().copy()
    values[3_333] = -1
    bad = bad.set_column(2, "x", pa.array(values))
    with pytest.raises(
        ValidationError, match=r"'x' is below the minimum 0 in row (\d+) \(-1.0\).*from row ([\d,]+) of"
    ):
        small_parts.write(VIEW, reader(bad))
    assert small_parts.offline.snapshot(VIEW) == -1
    small_parts.write(VIEW, facts(10))
    with pytest.raises(DataError) as raised:
        small_parts.write(VIEW, reader(bad))
    found = re.search(r"in row (\d+) .* from row ([\d,]+) of", str(raised.value))
    assert found is not None
    assert int(found[1]) + int(found[2].replace(",", "")) == 3_333
    assert small_parts.history(VIEW).num_rows == 10
    assert len(files(small_parts)) == len(small_parts.offline._files(VIEW, None))  # type: ignore[attr-defined]


def test_a_stream_that_fails(small_parts: FeatureStore) -> None:
    """What reading raises is raised, and nothing is written."""

    def broken() -> Iterator[pa.RecordBatch]:
        yield from facts().to_batches(1_000)
        raise OSError("the cable is out")

    with pytest.raises(OSError, match="the cable is out"):
        small_parts.write(VIEW, pa.RecordBatchReader.from_batches(facts(1).schema, broken()))
    assert small_parts.offline.snapshot(VIEW) == -1
    assert not files(small_parts)


def test_a_stream_without_rows(small_parts: FeatureStore) -> None:
    """It writes nothing, and its columns are checked all the same."""
    assert small_parts.write(VIEW, reader(facts(0))) == 0
    with pytest.raises(SchemaError, match="missing column 'x'"):
        small_parts.write(VIEW, reader(facts(0).drop_columns("x")))
    assert small_parts.offline.snapshot(VIEW) == -1


@pytest.mark.parametrize("sql", [None, "SELECT * FROM raw WHERE k < 20"])
def test_a_first_backfill_is_a_stream(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str | None
) -> None:
    """Parquet and SQL are read part after part; history is as if they were read at once."""
    pq.write_table(facts(), tmp_path / "raw.parquet")
    raw = Source("raw", path=tmp_path / "raw.parquet")
    backed = FeatureView(
        "v", entity=THING, fields=VIEW.fields, description="V.", online=False, source=SQL(sql) if sql else raw
    )
    monkeypatch.setattr(parts, "_PART_BYTES", 12_000)
    monkeypatch.setattr("fs_core.sources.sources._PART_ROWS", 2_048)
    store.apply(raw, backed)
    wanted = facts().filter(pa.compute.less(facts()["k"], 20)) if sql else facts()
    assert store.backfill("v") == wanted.num_rows
    assert store.offline.snapshot(backed) == 0
    assert store.history("v")["x"].to_pylist() == wanted["x"].to_pylist()
    assert store.backfill("v", incremental=True) == 0
