"""Spines whose features are looked up while they are read: the rows of a training set, in memory or not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from fs_core import Encoding, Entity, FeatureStore, FeatureView, Field
from fs_core.errors import DataError, NameClashError
from fs_core.retrieval.streaming import AsOfReader
from fs_tf import feature_dataset, pipeline, stream_dataset
from tests.tf_adapter.rows import STAMP, flat

ROWS = 53
NOW = datetime(2024, 5, 1, tzinfo=UTC)
USER = Entity("user", keys={"user": "int64"}, description="A user.")
FIELDS = [Field("x", "float32", "A number."), Field("word", "string", "A text."), Field("seen", "int32", "A count.")]
VIEW = FeatureView("visits", entity=USER, fields=FIELDS, description="Visits.")


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> Iterator[None]:
    """Chunks of some ten rows, so that small spines have many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "CHUNK_BYTES", 600)
        yield


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """A store with two visits of each of ten users."""
    with FeatureStore(tmp_path_factory.mktemp("store")) as store:
        store.apply(USER, VIEW)
        users = np.tile(np.arange(10), 2)
        times = [NOW - timedelta(days=10 if i < 10 else 5) for i in range(20)]
        words = [None if i % 7 == 0 else f"word {i}" for i in range(20)]
        columns = {"x": np.arange(20, dtype=np.float32), "word": words, "seen": pa.array(range(20), pa.int32())}
        store.write("visits", {"user": users, "event_timestamp": times, **columns})
        yield store


@pytest.fixture
def spine() -> pa.Table:
    """Users, some of them unknown, at moments before, between and after their visits; the label is the row."""
    rng = np.random.default_rng(0)
    times = [NOW - timedelta(days=int(d)) for d in rng.integers(0, 15, ROWS)]
    return pa.table({"user": rng.integers(0, 12, ROWS), "event_timestamp": pa.array(times, STAMP), "row": range(ROWS)})


def cells(dataset: tf.data.Dataset) -> list[list[tuple[Any, ...]]]:
    """The rows of each batch: label, then features."""
    found = []
    for x, y in dataset.as_numpy_iterator():
        columns = [np.atleast_1d(y), *(np.atleast_1d(x[name]) for name in sorted(x))]
        found.append([tuple(repr(cell) for cell in row) for row in zip(*columns, strict=True)])
    return found


@pytest.fixture
def encoding(visits: FeatureStore, spine: pa.Table) -> Encoding:
    """Numbers for all features, fitted on a sample."""
    sample = visits.get_historical_features(spine.slice(0, 40), "visits", label="row")
    return Encoding.fit(sample, fill={"seen": -1})


class Opened:
    """Opens a stream of a spine, in batches of a size of its own, and counts."""

    def __init__(self, spine: pa.Table) -> None:
        self.spine = spine
        self.times = 0

    def __call__(self) -> pa.RecordBatchReader:
        """Open it."""
        self.times += 1
        return self.spine.to_reader(7)


@pytest.mark.parametrize("batch", [None, 8])
@pytest.mark.parametrize("larger", [False, True])
def test_a_stream_gives_the_rows_of_the_training_set(
    visits: FeatureStore, spine: pa.Table, encoding: Encoding, batch: int | None, larger: bool
) -> None:
    """The same rows in the same order with the same bits, in every epoch, from memory and from a stream."""
    training = visits.get_historical_features(spine, "visits", label="row")
    wanted = cells(feature_dataset(training, batch_size=batch, encoding=encoding))
    given = Opened(spine) if larger else spine
    dataset = stream_dataset(visits, given, "visits", batch_size=batch, label="row", encoding=encoding)
    assert cells(dataset) == cells(dataset) == wanted
    assert dataset.cardinality() == (tf.data.UNKNOWN_CARDINALITY if larger else len(wanted))
    assert dataset.element_spec == feature_dataset(training, batch_size=batch, encoding=encoding).element_spec


def test_a_spine_in_memory_is_shuffled_and_sharded(visits: FeatureStore, spine: pa.Table, encoding: Encoding) -> None:
    """As the training set would be: the same seed gives the same order."""
    training = visits.get_historical_features(spine, "visits", label="row")
    asked: dict[str, Any] = {"batch_size": 8, "encoding": encoding, "shuffle": True, "seed": 3, "shard": (1, 2)}
    dataset = stream_dataset(visits, spine, "visits", label="row", **asked)
    assert cells(dataset) == cells(feature_dataset(training, **asked))


@pytest.mark.parametrize("drop", [False, True])
def test_shards_of_a_stream_hold_every_row_once(
    visits: FeatureStore, spine: pa.Table, encoding: Encoding, drop: bool
) -> None:
    """Row by row in turn; with drop_remainder each shard has as many batches."""
    shards = [
        cells(stream_dataset(visits, Opened(spine), "visits", batch_size=8, label="row", encoding=encoding,
                             shard=(index, 3), drop_remainder=drop))
        for index in range(3)
    ]  # fmt: skip
    rows = [[int(row[0].removeprefix("np.int64(").removesuffix(")")) for row in flat(shard)] for shard in shards]
    if drop:
        assert [len(shard) for shard in shards] == [2, 2, 2]
    assert rows == [list(range(index, ROWS, 3))[: 16 if drop else None] for index in range(3)]


@pytest.mark.parametrize("larger", [False, True])
def test_a_stop_at_every_step_loses_nothing(
    visits: FeatureStore, spine: pa.Table, encoding: Encoding, tmp_path: Path, larger: bool
) -> None:
    """Saved after any batch and restored on a dataset made anew, the rest equals the uninterrupted run."""

    def make() -> tf.data.Dataset:
        given = Opened(spine.slice(0, 31)) if larger else spine.slice(0, 31)
        return stream_dataset(visits, given, "visits", batch_size=5, label="row", encoding=encoding).repeat(2)

    whole, running = cells(make()), iter(make())
    for done in range(len(whole) + 1):
        path = tf.train.Checkpoint(iterator=running).write(str(tmp_path / str(done)))
        restored = iter(make())
        tf.train.Checkpoint(iterator=restored).read(path).assert_consumed()
        assert cells(_Rest(restored)) == whole[done:]
        if done < len(whole):
            next(running)


class _Rest:
    """What is left of an iterator, as a dataset is read."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def as_numpy_iterator(self) -> Iterator[Any]:
        for element in self._iterator:
            yield tf.nest.map_structure(lambda tensor: tensor.numpy(), element)


def test_rows_that_were_seen_are_not_looked_up_again(
    visits: FeatureStore, spine: pa.Table, encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restored stream reads the spine up to its position, and asks history for the rest alone."""
    asked: list[int] = []
    rows = AsOfReader.rows
    monkeypatch.setattr(AsOfReader, "rows", lambda self, part: asked.append(part.num_rows) or rows(self, part))

    def make() -> tf.data.Dataset:
        return stream_dataset(visits, Opened(spine), "visits", batch_size=4, label="row", encoding=encoding)

    running = iter(make())
    for _ in range(10):
        next(running)
    path = tf.train.Checkpoint(iterator=running).write(str(tmp_path / "saved"))
    restored = iter(make())
    del running
    tf.train.Checkpoint(iterator=restored).read(path).assert_consumed()
    asked.clear()
    assert len(cells(_Rest(restored))) == 4
    assert sum(asked) <= ROWS - 40


def test_epochs_in_turn_open_the_stream_once_each(visits: FeatureStore, spine: pa.Table, encoding: Encoding) -> None:
    """Chunk follows chunk from one opened stream, beside the one that showed the columns."""
    opened = Opened(spine)
    dataset = stream_dataset(visits, opened, "visits", batch_size=4, label="row", encoding=encoding)
    for epoch in range(3):
        cells(dataset)
        assert opened.times == 2 + epoch


def test_what_is_wrong_is_named(visits: FeatureStore, spine: pa.Table) -> None:
    """Streams that can't be read again or shuffled, functions that open nothing, names that clash."""
    with pytest.raises(DataError, match=r"read only once.*Pass a function that opens it"):
        stream_dataset(visits, spine.to_reader(), "visits")
    with pytest.raises(DataError, match=r"needs a spine in memory.*dataset.shuffle\(buffer_size\)"):
        stream_dataset(visits, Opened(spine), "visits", shuffle=True)
    with pytest.raises(DataError, match="returned int, no Arrow stream"):
        stream_dataset(visits, lambda: 3, "visits")
    with pytest.raises(NameClashError, match="'x'"):
        stream_dataset(visits, spine.append_column("x", pa.nulls(ROWS)), "visits")
    holes = stream_dataset(visits, spine, "visits", label="row", batch_size=8)
    with pytest.raises(tf.errors.OpError, match="'seen' is int32, which has no NaN"):
        cells(holes)
