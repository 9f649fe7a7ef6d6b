"""Streams and lookups give the rows that a training set has, bit for bit."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import DataError, NameClashError, SchemaError, UnknownReferenceError
from fs_core.testing.histories import scenarios, spines
from fs_core.testing.oracle import bits

T0 = datetime(2024, 1, 1, tzinfo=UTC)
THING = Entity("thing", keys={"thing": "int64"}, description="A thing.")


def times(count: int) -> list[datetime]:
    """Moments an hour apart."""
    return [T0 + timedelta(hours=n) for n in range(count)]


def labels(count: int) -> pa.Table:
    """Labels of five things, half an hour after each hour."""
    half = timedelta(minutes=30)
    columns = {"thing": [n % 5 for n in range(count)], "event_timestamp": [t + half for t in times(count)]}
    return pa.table({**columns, "late": [n % 2 == 0 for n in range(count)]})


@pytest.fixture
def filled(store: FeatureStore) -> FeatureStore:
    """A store with a hundred rows of four things."""
    fields = [Field("x", "int64", "X."), Field("s", "string", "S.")]
    store.apply(FeatureView("facts", entity=THING, fields=fields, ttl="9h", description="Facts."))
    things = [n % 4 for n in range(100)]
    rows = {"thing": things, "event_timestamp": times(100), "x": range(100), "s": [str(n) for n in range(100)]}
    store.write("facts", {name: list(column) for name, column in rows.items()})
    return store


@settings(max_examples=40)
@given(data=st.data(), batch_size=st.integers(1, 30), read_size=st.integers(1, 30))
def test_a_stream_is_the_one_shot_table(
    fresh_directory: Callable[[], Path], data: st.DataObject, batch_size: int, read_size: int
) -> None:
    """Any history, spine and sizes of batches, read and returned: the same rows, order, types and bits."""
    scenario = data.draw(scenarios())
    view = scenario.view
    spine = data.draw(spines(scenario))
    spine = spine.rename_columns([*spine.column_names[:-1], "the moment"])
    with FeatureStore(fresh_directory()) as store:
        store.apply(view)
        history = scenario.history.sort_by("__seq").rename_columns(
            [view.event_timestamp if n == "__event_time" else n for n in scenario.history.column_names]
        )
        store.write(view, history.drop_columns(["__available_at", "__seq"]))
        whole = store.get_historical_features(spine, view, timestamp="the moment").table
        stream = store.stream_historical_features(
            spine.to_reader(read_size), view, timestamp="the moment", batch_size=batch_size
        )
        batches = list(stream)
        found = pa.Table.from_batches(batches, stream.schema)
    assert found.schema == whole.schema
    assert [bits(row) for row in found.to_pylist()] == [bits(row) for row in whole.to_pylist()]
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_a_stream_reads_no_more_than_it_needs(filled: FeatureStore) -> None:
    """A spine without end is read batch by batch, as the stream is."""
    read: list[int] = []

    def endless() -> Any:
        while True:
            read.append(1)
            yield labels(10).to_batches()[0]

    spine = pa.RecordBatchReader.from_batches(labels(10).schema, endless())
    stream = filled.stream_historical_features(spine, "facts", batch_size=25, label="late")
    assert [len(stream.read_next_batch()) for _ in range(4)] == [25] * 4
    assert len(read) <= 11


def test_a_stream_reads_one_state_of_history(filled: FeatureStore) -> None:
    """What is written while it runs changes none of its rows."""
    spine = labels(40)
    expected = filled.get_historical_features(spine, "facts").table
    stream = filled.stream_historical_features(spine, "facts", batch_size=10)
    first = stream.read_next_batch()
    for n in range(4):
        filled.write("facts", {"thing": [n], "event_timestamp": [T0], "x": [-1], "s": ["late"]})
    assert pa.Table.from_batches([first, *stream]).to_pydict() == expected.to_pydict()


@pytest.mark.parametrize("size", [0, -1, True, 2.5, None])
def test_batch_sizes_that_are_none(filled: FeatureStore, size: Any) -> None:
    """A batch holds one row or more."""
    with pytest.raises(DataError, match="batch_size"):
        filled.stream_historical_features(labels(4), "facts", batch_size=size)


def test_refusals_come_as_early_as_they_can(filled: FeatureStore) -> None:
    """Missing columns and clashes before the first batch, values with the batch that holds them."""
    with pytest.raises(SchemaError, match="no column 'thing'"):
        filled.stream_historical_features(labels(4).drop_columns(["thing"]), "facts")
    with pytest.raises(NameClashError, match="'x'"):
        filled.stream_historical_features(labels(4).append_column("x", [[1] * 4]), "facts")
    with pytest.raises(UnknownReferenceError, match="Did you mean 'facts'"):
        filled.stream_historical_features(labels(4), "fatcs")
    things = pa.array([1.0, 2.0, 3.0, 4.5])
    stream = filled.stream_historical_features(labels(4).set_column(0, "thing", things), "facts", batch_size=2)
    assert len(stream.read_next_batch()) == 2
    with pytest.raises(SchemaError, match=r"row 1 holds 4\.5") as caught:
        stream.read_next_batch()
    assert "from row 2 of the spine" in "".join(caught.value.__notes__)


def test_a_lookup_is_the_training_sets_rows(filled: FeatureStore) -> None:
    """Any rows in any order, the same again after later writes, after pickling and from many threads."""
    spine = labels(90)
    whole = filled.get_historical_features(spine, ["facts.s", "facts.x"]).table.select(["s", "x"])
    reader = filled.as_of_reader(["facts.s", "facts.x"])
    filled.write("facts", {"thing": [1], "event_timestamp": [T0], "x": [-1], "s": ["late"]})
    assert reader.schema == whole.schema
    assert reader.keys == ("thing",)
    assert reader.timestamp == "event_timestamp"
    assert reader.spec["snapshots"] == {"facts": 0}
    indices = [[(7 * n + k) % 90 for k in range(20)] for n in range(40)]
    for used in (reader, pickle.loads(pickle.dumps(reader))):
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(used.lookup, [spine.take(rows) for rows in indices]))
        assert [batch.to_pydict() for batch in found] == [whole.take(rows).to_pydict() for rows in indices]
    assert reader.lookup(spine.slice(0, 0)).schema == whole.schema
    with pytest.raises(SchemaError, match="no column 'thing'"):
        reader.lookup({"event_timestamp": [T0]})


def test_a_lookup_makes_no_training_set(filled: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking batches up costs the look-up: no training set, no spec, and no count of what is missing."""
    reader, spine = filled.as_of_reader(["facts.s", "facts.x"]), labels(90)
    whole = filled.get_historical_features(spine, ["facts.s", "facts.x"]).table

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("built for nothing")

    for built in ("TrainingSet.__init__", "TrainingSet.__post_init__"):
        monkeypatch.setattr(f"fs_core.training_set.{built}", refuse, raising=False)
    monkeypatch.setattr("fs_core.retrieval.query.Query.spec", refuse)
    monkeypatch.setattr("fs_core.retrieval.query.warn_of_absence", refuse)
    assert reader.lookup(spine).to_pydict() == whole.select(["s", "x"]).to_pydict()
    assert reader.joined(spine).equals(whole)
    assert filled.stream_historical_features(spine, ["facts.s", "facts.x"], batch_size=7).read_all().equals(whole)
